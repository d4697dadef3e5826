/* lib/draw/colormap.c - a perceptual colour map, and colours for lines. */
#include "draw/colormap.h"

#include <math.h>

/* Linear light to the sRGB byte. */
static uint32_t encode(double v)
{
    v = v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055;
    return (uint32_t)lround(255 * fmin(fmax(v, 0), 1));
}

static uint32_t from_oklab(double L, double a, double b)
{
    const double l = L + 0.3963377774 * a + 0.2158037573 * b;
    const double m = L - 0.1055613458 * a - 0.0638541728 * b;
    const double s = L - 0.0894841775 * a - 1.2914855480 * b;
    const double l3 = l * l * l, m3 = m * m * m, s3 = s * s * s;

    return encode(4.0767416621 * l3 - 3.3077115913 * m3 + 0.2309699292 * s3)
               << 16 |
           encode(-1.2684380046 * l3 + 2.6097574011 * m3 - 0.3413193965 * s3)
               << 8 |
           encode(-0.0041960863 * l3 - 0.7034186147 * m3 + 1.7076147010 * s3);
}

uint32_t ral_colormap(double v)
{
    // Hue in degrees and chroma at equal steps of lightness 0.22 ... 0.95.
    static const double hue[6] = {292, 318, 4, 42, 74, 102};
    static const double chroma[6] = {0.11, 0.16, 0.185, 0.175, 0.15, 0.105};
    double L, h, c, f;
    int i;

    v = v > 0 ? fmin(v, 1) : 0;
    i = v < 1 ? (int)(v * 5) : 4;
    f = v * 5 - i;
    L = 0.22 + v * 0.73;
    h = (hue[i] + f * (fmod(hue[i + 1] - hue[i] + 540, 360) - 180)) * M_PI /
        180;
    c = chroma[i] + f * (chroma[i + 1] - chroma[i]);
    return from_oklab(L, c * cos(h), c * sin(h));
}

uint32_t ral_palette(unsigned i)
{
    static const uint32_t colour[8] = {0x2f6fb7, 0xd9662b, 0x3c9a62, 0xb1407f,
                                       0x7a5cc0, 0x8a6d2f, 0x2a9ab0, 0x5b6470};

    return colour[i % 8];
}
