/* Greedy continuations by libedgelora, as token ids: the server tells text alone, of which several sequences of tokens
 * can be the source.
 *
 * ours MODEL < JOBS > ANSWERS. The first line out lists the tokens that end a generation. A job is a line: how many
 * tokens at most, and the prompt's ids. Its answer is a line: the ids, and -1 behind them if the model ended by itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include "edgelora.h"

enum { MAX_JOBS = 1024, MAX_LINE = 1 << 16, MAX_PROMPT = 4096 };

static void fail(const char *what) {
  fprintf(stderr, "ours: %s\n", what);
  exit(1);
}

static uint64_t submit(el_engine *e, char *line) {
  static int32_t prompt[MAX_PROMPT];
  el_request request = el_request_default();
  el_error err;
  uint64_t id;
  char *end;
  request.prompt = prompt;
  request.max_tokens = (int)strtol(line, &end, 10);
  for (char *at = end;; at = end) {
    const long token = strtol(at, &end, 10);
    if (end == at) break;
    if (request.n_prompt == MAX_PROMPT) fail("a prompt is too long");
    prompt[request.n_prompt++] = (int32_t)token;
  }
  if (el_submit(e, &request, &id, &err)) fail(err.message);
  return id;
}

static void answer(el_engine *e, uint64_t id) {
  el_event event;
  do {
    if (el_next_event(e, id, -1, &event)) fail("a request was lost");
    if (event.type == EL_EVENT_TOKEN) printf("%d ", event.token.id);
  } while (event.type != EL_EVENT_DONE);
  if (event.done.finish == EL_FINISH_ERROR) fail(event.done.error.message);
  puts(event.done.finish == EL_FINISH_STOP ? "-1" : "");
}

int main(int argc, char **argv) {
  static char line[MAX_LINE];
  uint64_t ids[MAX_JOBS];
  size_t n = 0;
  el_engine *e;
  el_error err;
  if (argc != 2) fail("usage: ours MODEL < JOBS > ANSWERS");
  el_engine_options options = el_engine_options_default();
  options.model_path = argv[1];
  if (el_engine_open(&options, &e, &err)) fail(err.message);
  const el_tokenizer *t = el_engine_tokenizer(e);
  for (int32_t i = 0; i < el_tokenizer_n_vocab(t); i++)
    if (el_tokenizer_is_eog(t, i)) printf("%d ", i);
  puts("");
  while (fgets(line, sizeof line, stdin)) {
    if (n == MAX_JOBS) fail("too many jobs");
    ids[n++] = submit(e, line);
  }
  for (size_t i = 0; i < n; i++) answer(e, ids[i]);
  el_engine_close(e);
  return 0;
}
