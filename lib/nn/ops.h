/* lib/nn/ops.h - all that the model asks of a machine.
 *
 * Operations work on whole arrays, are queued in order and cannot fail: the
 * first failure sticks, later ones do nothing, and ral_sync reports it. What
 * they read stands in a machine's memory or in their own struct, which is
 * copied; numbers of the host cross by put and get alone. The plain C text
 * (lib/cpu, RAL_CPU=c) is the definition of every one of them: others give
 * the same bits.
 *
 * N, n, M: rows. C, K: channels. V: vocabulary. F32 where no type is given;
 * views may have ld > cols; written arrays overlap nothing unless said.
 */
#ifndef RAL_OPS_H
#define RAL_OPS_H

#include "base/err.h"
#include "nn/span.h"

/* ------------------------------------------------------------------- rows */

/* y = value */
struct ral_op_fill {
    struct ral_mat y; // [N][C]
    float value;
};

/* y = x; numbers of a weight's type (F32, F16, BF16) are widened to F32, those
 * of any other keep theirs. */
struct ral_op_copy {
    struct ral_mat y, x; // [N][C]
};

/* y += scale x, by fma */
struct ral_op_add {
    struct ral_mat y, x; // [N][C]
    float scale;
};

/* y[i] = x[at[i]], widened as by copy; zeros where at[i] < 0 */
struct ral_op_gather {
    struct ral_mat y;  // [n][C]
    struct ral_mat x;  // [N][C] of a weight's type
    struct ral_mat at; // I32 [1][n]
};

/* y[at[i]] = x[i], or += in ascending i; nothing where at[i] < 0 */
struct ral_op_scatter {
    struct ral_mat y;  // [N][C]
    struct ral_mat x;  // [n][C]
    struct ral_mat at; // I32 [1][n]; all different unless add
    bool add;
};

/* y[i][c][t][k] = x[i][c][k]: a still's patches, once for every frame. */
struct ral_op_spread {
    struct ral_mat y;       // [N][channels*times*K]
    struct ral_mat x;       // [N][channels*K]
    size_t channels, times;
};

/* --------------------------------------------------------------- products */

/* A weight as it is stored, any type, any alignment; and what the machine
 * makes of it for speed (op pack), or none. */
struct ral_weight {
    struct ral_mat w;      // [N][K] without gaps
    struct ral_mat packed; // F32 [1][ops->packed(N, K)], or none
};

/* w.packed from w.w */
struct ral_op_pack {
    struct ral_weight w;
};

/* y = x W^T (+ bias) (+ y): a chain over ascending k, then one add each. */
struct ral_op_matmul {
    struct ral_mat y;    // [M][N]
    struct ral_mat x;    // [M][K]
    struct ral_weight w; // [N][K]
    struct ral_mat bias; // [1][N], or none
    bool residual;
};

/* dx = dy W, or += : a chain over ascending n, then one add. */
struct ral_op_matmul_dx {
    struct ral_mat dx;   // [M][K]
    struct ral_mat dy;   // [M][N]
    struct ral_weight w; // [N][K]
    bool add;
};

/* dw += dy^T x, db += column sums of dy: chunks of 512 rows from row 0, each a
 * chain over ascending rows from +0, added in order. */
struct ral_op_matmul_dw {
    struct ral_mat dw; // [N][K] without gaps
    struct ral_mat db; // [1][N], or none
    struct ral_mat dy; // [M][N]
    struct ral_mat x;  // [M][K]
};

/* ----------------------------------------------------------------- layers */

/* y = (x r) w, r = 1/sqrt(mean square of the row + eps). y may be x. */
struct ral_op_rms_norm {
    struct ral_mat y, x; // [N][C]
    struct ral_mat r;    // [1][N] written, or none
    struct ral_mat w;    // [1][C]
    float eps;
};

/* dx += its gradient; dw += in chunks of 256 rows, in order. */
struct ral_op_rms_norm_backward {
    struct ral_mat dx, dy, x; // [N][C]
    struct ral_mat r;         // [1][N]
    struct ral_mat w, dw;     // [1][C]; dw may be none
};

/* Heads turn in place: pairs (j, j + D/2) by the angles of their row. */
struct ral_op_rotate {
    struct ral_mat x;        // [N][heads*D]
    struct ral_mat cos, sin; // [N][D/2]
    size_t heads;
    bool back;               // by the opposite angles
};

/* y = u (g / (1 + exp(-g))) */
struct ral_op_silu_mul {
    struct ral_mat y, g, u; // [N][C]
};
struct ral_op_silu_mul_backward {
    struct ral_mat dg, du;   // [N][C] written; dg may be dy
    struct ral_mat dy, g, u; // [N][C]
};

/* y = x (1 + erf(x/sqrt 2)) / 2 */
struct ral_op_gelu {
    struct ral_mat y, x; // [N][C]
};
struct ral_op_gelu_backward {
    struct ral_mat dx, dy, x; // [N][C]; dx may be dy
};

/* -------------------------------------------------------------- attention */

/* Rows of k and v, which have one ld, to their slots. */
struct ral_op_kv_put {
    struct ral_kv kv;
    struct ral_mat runs; // U8 [n][sizeof(struct ral_run)]
    struct ral_mat k, v; // [N][KV*D]
};

/**
 * o = softmax(scale q k^T) v for every query row of the spans:
 * s = chain over D of (q scale) k; m = max; e = exp(s - m), 0 where masked;
 * l = 32-lane sum over j; o = chain over ascending j of e v, times 1/l.
 * A row that is handed out is e (1/l) of each head, or of the heads' mean:
 * (sum over ascending heads) (1/H). It never changes o.
 */
struct ral_op_attention {
    struct ral_attn_shape shape;
    struct ral_kv kv;
    struct ral_spans spans;
    struct ral_mat q, o; // [M][H*D]
    struct ral_look look;
};

/**
 * dq is written; dk, dv are added to, at the rows of the runs; k and v have
 * one ld, as have dk and dv. Gradients of the rows handed out join the value
 * path before the softmax's backward. Sums over queries run in chunks, in
 * order (lib/cpu/attention.h).
 */
struct ral_op_attention_backward {
    struct ral_attn_shape shape;
    struct ral_kv kv;
    struct ral_spans spans;
    struct ral_mat q, dq, dO;    // [M][H*D]
    struct ral_mat k, v, dk, dv; // [N][KV*D]
    struct ral_look look;        // gradients
};

/* ------------------------------------------------------------------- head */

/* x *= scale (1/tau); lse = its log-sum-exp: (max, sum of exp) of every 4,096
 * columns from column 0, joined in double. */
struct ral_op_lse {
    struct ral_mat x;   // [n][V]
    struct ral_mat lse; // F64 [1][n]
    float scale;
};

/* entropy = lse - sum of p x, nats; p = exp(x - float(lse)); products and sum
 * in double, element i in lane i mod 32, lanes folded by halves. */
struct ral_op_entropy {
    struct ral_mat entropy; // [1][n]
    struct ral_mat x;       // [n][V]
    struct ral_mat lse;     // F64 [1][n]
};

/* The targets of row i: first[i] .. first[i+1]-1 among all. */
struct ral_targets {
    struct ral_mat first; // I32 [1][n+1]
    struct ral_mat id;    // I32 [1][all]
};

/* logp[k] = x[i][id[k]] - lse[i] for the targets k of row i */
struct ral_op_pick {
    struct ral_mat logp; // [1][all]; what is no target of these rows stays
    struct ral_mat x;    // [n][V]
    struct ral_mat lse;  // F64 [1][n]
    struct ral_targets targets;
};

/* Of logits before their scale: x = scale (sum of the row's dlogp) (onehot - p)
 * in place, as x = -(sum) p scale, then += dlogp[k] scale at each target. */
struct ral_op_softmax_backward {
    struct ral_mat x;     // [n][V]
    struct ral_mat lse;   // F64 [1][n]
    struct ral_mat dlogp; // [1][all]
    struct ral_targets targets;
    float scale;
};

/* nats = sum over V of p (ln p - ln q), p and q the softmax of x and y;
 * dx += weight p (ln p - ln q - nats): p = exp(float(x - lse)), all else in
 * double, the sum by 32 lanes (reverse_kl of lib/cpu/kernels.h). */
struct ral_op_kl {
    struct ral_mat dx, x, y;   // [n][V]
    struct ral_mat lse, lse_y; // F64 [1][n]
    struct ral_mat weight;     // F64 [1][n]
    struct ral_mat nats;       // [1][n]
};

/**
 * Token ids by the inverse distribution function over ascending ids, of the
 * tokens that top-k, then top-p leave (ties in favour of the lower id), and
 * their log-probabilities before both.
 */
struct ral_op_draw {
    struct ral_mat id;      // I32 [1][n]
    struct ral_mat logp;    // [1][n]
    struct ral_mat row;     // I32 [1][n]: the row of x that it is drawn from
    struct ral_mat uniform; // F64 [1][n], in [0, 1)
    struct ral_mat x;       // [rows][V], scaled
    struct ral_mat lse;     // F64 [1][rows]
    bool greedy;            // the largest, the first of equals
    double top_p;           // 1: all
    int64_t top_k;          // 0: all
};

/* -------------------------------------------------------------- optimiser */

/* sum = of squares, in double: chunks of 16,384 numbers, in order. */
struct ral_op_sumsq {
    struct ral_mat sum; // F64 [1][1]
    struct ral_mat x;   // [1][n]
};

/* m = b1 m + a1 g, v = b2 v + a2 g^2, w = decay w - step m / (sqrt(v) root +
 * eps), with g = scale grad: an update's constants, as the elements use them. */
struct ral_op_adamw {
    struct ral_mat w, m, v, grad; // [1][n]
    float b1, b2, a1, a2, step, root, eps, decay, scale;
};

/* at = the place of the first number that is NaN or Inf, row C + column; -1:
 * none. */
struct ral_op_finite {
    struct ral_mat at; // I64 [1][1]
    struct ral_mat x;  // [N][C] of a weight's type
};

/* ---------------------------------------------------------------- machine */

/* Every operation, for those who make tables of them. */
#define RAL_OPS(X)                                                             \
    X(fill) X(copy) X(add) X(gather) X(scatter) X(spread)                      \
    X(pack) X(matmul) X(matmul_dx) X(matmul_dw)                                \
    X(rms_norm) X(rms_norm_backward) X(rotate)                                 \
    X(silu_mul) X(silu_mul_backward) X(gelu) X(gelu_backward)                  \
    X(kv_put) X(attention) X(attention_backward)                               \
    X(lse) X(entropy) X(pick) X(softmax_backward) X(kl) X(draw)                \
    X(sumsq) X(adamw) X(finite)

struct ral_ops {
    const char *name; // "cpu", "guard", "cuda"
    bool in_place;    // computes on the host's memory where it lies

    /* host: [rows][cols] without gaps. put copies before it returns; get waits
     * for all that was queued. */
    void (*put)(struct ral_dev *, struct ral_mat, const void *host);
    void (*get)(struct ral_dev *, void *host, struct ral_mat);
    /* Waits; a failure is then in dev->failure. */
    void (*wait)(struct ral_dev *);
    /* Numbers of a packed weight [N][K]; 0: the machine takes it as it is. */
    size_t (*packed)(const struct ral_dev *, size_t N, size_t K);
    void (*close)(struct ral_dev *);

#define RAL_OP_ENTRY(op)                                                       \
    void (*op)(struct ral_dev *, const struct ral_op_##op *);
    RAL_OPS(RAL_OP_ENTRY)
#undef RAL_OP_ENTRY
};

/* A machine; every kind has this at its beginning. */
struct ral_dev {
    const struct ral_ops *ops;
    struct ral_err failure;         // the first one; code 0: none
    struct ral_arena_source source; // for arenas of its memory
    const char *kernels;            // "avx512", for -V and metrics
    bool blas;                      // gradient products by OpenBLAS
    int threads;
};

/* d->ops->OP(d, &(struct ral_op_OP){...}) */
#define RAL_DO(d, op, ...)                                                     \
    ((d)->ops->op((d), &(struct ral_op_##op){__VA_ARGS__}))

/* How a machine computes gradient products, as recipes name it. */
static inline const char *ral_dev_backward(const struct ral_dev *d)
{
    return d->blas ? "blas" : "exact";
}

static inline bool ral_dev_failed(const struct ral_dev *d)
{
    return d->failure.code != 0;
}

/* The first failure stays. */
void ral_dev_fail(struct ral_dev *d, int code, const char *what, ...)
    __attribute__((format(printf, 3, 4)));
/* Waits; 0, or the first failure since the last time, which is then over. */
int ral_sync(struct ral_dev *d, struct ral_err *err);
/* Waits and copies x to the host's [rows][cols]; 0 or the first failure. */
int ral_get(struct ral_dev *d, void *host, struct ral_mat x,
            struct ral_err *err);
void ral_dev_close(struct ral_dev *d); // NULL is none

#endif
