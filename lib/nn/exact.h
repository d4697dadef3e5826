/* shim */
#ifndef RAL_EXACT_H
#define RAL_EXACT_H
#include <math.h>
double ral_exp_d(double x);
double ral_log_d(double x);
void ral_sincos_d(double x, double *sin, double *cos);
static inline double ral_expm1_d(double x) { return expm1(x); }
#endif
