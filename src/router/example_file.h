/* The examples that an adapter brings along: examples.jsonl in its folder, lines with a "prompt" each, or
 * description.txt, a text that counts as one prompt. Beside a file NAME.gguf they are NAME.examples.jsonl and
 * NAME.description.txt. */
#ifndef EL_ROUTER_EXAMPLE_FILE_H
#define EL_ROUTER_EXAMPLE_FILE_H

#include "adapter/signature.h"
#include "router/bank.h"

/* adapter: the path of a folder or file. *path: of its examples, to be freed, and *signature the file's; NULL and zeros
 * when it brings none. EL_ERR_NO_MEMORY. */
el_status el_example_file_find(const char *adapter, el_signature *signature, char **path, el_error *err);

typedef struct el_examples_read {
  char *prompts[EL_MAX_EXAMPLES]; /* [n] the first ones of the file, not empty */
  int n;
} el_examples_read;

/* EL_ERR_FORMAT names line and field; other fields than "prompt" are not looked at. */
el_status el_example_file_read(const char *path, el_examples_read *out, el_error *err);
void el_examples_read_free(el_examples_read *r);

#endif
