/* Which weights of a file lose precision when they are repacked, and how much: nothing is done in silence. */
#ifndef EL_MODEL_LOSSES_H
#define EL_MODEL_LOSSES_H

#include "base/log.h"
#include "format/gguf.h"
#include "kernels/kernels.h"

/* Says it for each type of the matrices of `g` that `weights` requantises, with the error measured on some rows of each
 * of them: the root of the mean square of what weights change by, relative to theirs. Reads the file. */
el_status el_losses_log(const el_gguf *g, el_weights weights, const el_log *log, el_error *err);

#endif
