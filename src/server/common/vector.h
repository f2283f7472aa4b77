/* Writes embedding vectors in the form that a request asks for. */
#ifndef EL_SERVER_VECTOR_H
#define EL_SERVER_VECTOR_H

#include "base/buf.h"

/* The form that a request asks for. */
typedef struct el_vector_form {
  int dimensions;      /* only the first ones; 0: all */
  bool base64;         /* f32, little-endian, instead of an array of numbers */
  bool not_normalised; /* otherwise vectors have length 1, also when dimensions are left out */
} el_vector_form;

/* Appends a vector of n values in that form. False: out of memory. */
bool el_vector_write(const float *v, size_t n, el_vector_form form, el_buf *out);

#endif
