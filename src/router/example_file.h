/* An adapter's examples: examples.jsonl in its folder, where each line has a "prompt", or
 * description.txt, whose text counts as one prompt. For an adapter file NAME.gguf they are
 * NAME.examples.jsonl and NAME.description.txt beside it. */
#ifndef EL_ROUTER_EXAMPLE_FILE_H
#define EL_ROUTER_EXAMPLE_FILE_H

#include "adapter/signature.h"
#include "router/bank.h"

/* adapter: the path of a folder or file. *path: the path of its examples, which the caller frees;
 * *signature: that file's. NULL and zeros if there are none. Fails with EL_ERR_NO_MEMORY only. */
el_status el_example_file_find(const char *adapter, el_signature *signature, char **path, el_error *err);

typedef struct el_examples_read {
  char *prompts[EL_MAX_EXAMPLES]; /* [n] the first prompts of the file; none is empty */
  int n;
} el_examples_read;

/* EL_ERR_FORMAT names the line and the field. Fields other than "prompt" are ignored. */
el_status el_example_file_read(const char *path, el_examples_read *out, el_error *err);
void el_examples_read_free(el_examples_read *r);

#endif
