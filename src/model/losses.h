/* Says which weights of a file lose precision when they are repacked, and how much, so that nothing
 * is lost silently. */
#ifndef EL_MODEL_LOSSES_H
#define EL_MODEL_LOSSES_H

#include "base/log.h"
#include "format/gguf.h"
#include "kernels/kernels.h"

/* Logs a line for each type of the matrices of `g` that `weights` requantises. The error is
 * measured on some rows of each matrix: the root mean square of the change of weights, relative to
 * that of the weights. Reads the file. */
el_status el_losses_log(const el_gguf *g, el_weights weights, const el_log *log, el_error *err);

#endif
