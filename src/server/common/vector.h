/* Vectors of texts as answers have them. */
#ifndef EL_SERVER_VECTOR_H
#define EL_SERVER_VECTOR_H

#include "base/buf.h"

/* How a request wants them. */
typedef struct el_vector_form {
  int dimensions;      /* the first ones alone; 0: all */
  bool base64;         /* f32, little-endian, instead of an array of numbers */
  bool not_normalised; /* else of length 1, also when dimensions are left out */
} el_vector_form;

/* Appends a vector of n values in that form. False: out of memory. */
bool el_vector_write(const float *v, size_t n, el_vector_form form, el_buf *out);

#endif
