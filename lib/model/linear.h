/* lib/model/linear.h - y = x W^T + b. */
#ifndef RAL_LINEAR_H
#define RAL_LINEAR_H

#include "model/model.h"

/* x [N][in] to y [N][out]; residual: added to what y holds. */
void ral_linear_forward(const struct ral_model *m, struct ral_linear l,
                        struct ral_mat x, bool residual, struct ral_mat y);

/* dW, db are added to grad, an arena in table order [1][floats]; dx, unless it
 * is none, is written or added to. */
void ral_linear_backward(const struct ral_model *m, struct ral_linear l,
                         struct ral_mat x, struct ral_mat dy, bool add,
                         struct ral_mat dx, struct ral_mat grad);

#endif
