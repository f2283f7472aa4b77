/* edgelora-bench perplexity: how well the model predicts a text, by llama-perplexity's method, so that figures
 * compare.
 *
 * The whole text is tokenized once and cut into chunks of --ctx-size tokens; what is left over at the end is not used.
 * In each chunk the first token gives way to BOS if the model asks for one. The first half is context alone; the
 * tokens after the middle one are scored. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/commands.h"
#include "cli/open.h"
#include "cli/signals.h"

typedef struct perplexity_options {
  el_cli_engine common;
  const char *adapter, *file;
  int chunk, max_chunks;
} perplexity_options;

/* Sums over scored tokens of the negative log-probability and of its square. */
typedef struct score {
  double nll, nll2;
  size_t n;
} score;

typedef struct text_tokens {
  int32_t *ids;
  size_t n;
  int32_t bos; /* first token of every chunk; -1: the text's own */
} text_tokens;

static score chunk_score(const float *logprobs, size_t n) {
  score s = {0};
  for (size_t i = n / 2 + 1; i < n; i++) {
    double nll = -(double)logprobs[i];
    s.nll += nll;
    s.nll2 += nll * nll;
    s.n++;
  }
  return s;
}

static void add_score(score *sum, const score *s) {
  sum->nll += s->nll;
  sum->nll2 += s->nll2;
  sum->n += s->n;
}

/* exp of the mean, and its standard error by the delta method: d exp(m) = exp(m) dm. */
static void perplexity_of(const score *s, double *value, double *error) {
  double mean = s->nll / (double)s->n, variance = s->nll2 / (double)s->n - mean * mean;
  *value = exp(mean);
  *error = s->n > 1 && variance > 0 ? sqrt(variance / (double)(s->n - 1)) * *value : 0;
}

/* Asks the tokenizer, which alone knows whether the model's file wants a BOS. */
static el_status asked_bos(const el_tokenizer *t, int32_t *bos, el_error *err) {
  int32_t *ids = NULL;
  size_t n = 0;
  el_status status = el_tokenize(t, "", 0, EL_TOKENIZE_BOS, &ids, &n, err);
  if (status) return status;
  *bos = n > 0 ? ids[0] : -1;
  el_free(ids);
  return EL_OK;
}

static int tokenize_text(const perplexity_options *o, text_tokens *out) {
  size_t len;
  char *text = el_cli_read_file(o->file, &len);
  if (!text) return EL_EXIT_FAILED;
  /* As llama-perplexity reads its file: less a newline at the end, and without bytes that no token stands for. */
  if (len > 0 && text[len - 1] == '\n') len--;
  const el_tokenizer *t = el_engine_tokenizer(o->common.engine);
  el_error err;
  el_status status = el_tokenize(t, text, len, EL_TOKENIZE_BOS | EL_TOKENIZE_LOSSY, &out->ids, &out->n, &err);
  if (!status) status = asked_bos(t, &out->bos, &err);
  free(text);
  return status ? el_cli_failed(&err) : -1;
}

static el_status submit_chunk(const perplexity_options *o, const text_tokens *t, size_t chunk, int32_t *scratch,
                              uint64_t *id, el_error *err) {
  size_t n = (size_t)o->chunk;
  memcpy(scratch, t->ids + chunk * n, n * sizeof *scratch);
  if (t->bos >= 0) scratch[0] = t->bos;
  el_request request = el_request_default();
  request.adapter.name = o->adapter;
  request.prompt = scratch;
  request.n_prompt = n;
  request.max_tokens = 0;
  request.prompt_logprobs = true;
  return el_submit(o->common.engine, &request, id, err);
}

/* Takes one chunk's events to the end. A signal: its number in *signal, and the request stays behind. */
static el_status collect_chunk(const perplexity_options *o, uint64_t id, score *out, int *signal, el_error *err) {
  for (;;) {
    el_event event;
    el_status status = el_next_event(o->common.engine, id, 100, &event);
    *signal = el_cli_signal_take(o->common.signal_fd, 0);
    if (*signal) return EL_OK;
    if (status == EL_ERR_BUSY) continue;
    if (status) {
      err->code = status;
      snprintf(err->message, sizeof err->message, "a chunk was lost (%s)", el_status_name(status));
      return status;
    }
    if (event.type == EL_EVENT_PROMPT) *out = chunk_score(event.prompt.logprobs, event.prompt.n);
    if (event.type != EL_EVENT_DONE) continue;
    if (event.done.finish == EL_FINISH_LENGTH && out->n > 0) return EL_OK;
    if (event.done.finish == EL_FINISH_ERROR)
      *err = event.done.error;
    else
      snprintf(err->message, sizeof err->message, "a chunk ended without its log-probabilities");
    return EL_ERR_INVALID;
  }
}

/* As many chunks as there are slots run at once; they are taken in order, so that the sums do not depend on timing. */
static int score_chunks(const perplexity_options *o, const text_tokens *t, size_t n_chunks) {
  int code = EL_EXIT_FAILED, signal = 0;
  size_t submitted = 0, window = (size_t)o->common.options.n_slots;
  uint64_t *ids = calloc(n_chunks, sizeof *ids);
  int32_t *scratch = calloc((size_t)o->chunk, sizeof *scratch);
  score sum = {0};
  double value = 0, error = 0;
  el_error err;
  if (!ids || !scratch) {
    el_cli_no_memory();
    goto end;
  }
  for (size_t i = 0; i < n_chunks; i++) {
    for (; submitted < n_chunks && submitted < i + window; submitted++)
      if (submit_chunk(o, t, submitted, scratch, &ids[submitted], &err)) goto failed;
    score s = {0};
    if (collect_chunk(o, ids[i], &s, &signal, &err)) goto failed;
    if (signal) {
      code = EL_EXIT_SIGNAL_BASE + signal;
      goto end;
    }
    add_score(&sum, &s);
    perplexity_of(&sum, &value, &error);
    if (!o->common.quiet)
      fprintf(stderr, "%schunk %zu of %zu: perplexity %.4f%s", isatty(STDERR_FILENO) ? "\r" : "", i + 1, n_chunks,
              value, isatty(STDERR_FILENO) && i + 1 < n_chunks ? "" : "\n");
  }
  printf("perplexity %.4f ± %.4f (%zu tokens scored, %zu chunks of %d)\n", value, error, sum.n, n_chunks, o->chunk);
  code = el_cli_end(EL_EXIT_OK);
  goto end;
failed:
  el_cli_failed(&err);
end:
  free(ids);
  free(scratch);
  return code;
}

static int measure_perplexity(perplexity_options *o) {
  int code = el_cli_engine_open(&o->common);
  if (code >= 0) return code;
  text_tokens t = {.bos = -1};
  code = tokenize_text(o, &t);
  if (code < 0) {
    size_t n_chunks = t.n / (size_t)o->chunk;
    if (o->max_chunks > 0 && n_chunks > (size_t)o->max_chunks) n_chunks = (size_t)o->max_chunks;
    if (n_chunks == 0) {
      el_cli_error("%s has %zu tokens; one chunk takes %d (-c makes chunks smaller)", o->file, t.n, o->chunk);
      code = EL_EXIT_FAILED;
    } else {
      code = score_chunks(o, &t, n_chunks);
    }
  }
  el_free(t.ids);
  return code;
}

static int run_perplexity(const el_cli_command *self, int argc, char **argv) {
  perplexity_options o = {.common = el_cli_engine_default(), .chunk = 512};
  o.common.options.n_slots = 4;
  const el_cli_option text[] = {
      {'f', "file", "FILE", EL_CLI_TEXT, &o.file, 0, 0, "the text; - is standard input"},
      {'c', "ctx-size", "TOKENS", EL_CLI_INT, &o.chunk, 4, EL_MAX_CTX_SIZE,
       "tokens of a chunk; its second half is scored; default 512"},
      {0, "chunks", "N", EL_CLI_INT, &o.max_chunks, 0, 1 << 30, "score the first N chunks only; default 0: all"},
      {0, "slots", "N", EL_CLI_INT, &o.common.options.n_slots, 1, EL_MAX_SLOTS, "chunks that run at once; default 4"},
  };
  el_cli_option model[EL_CLI_MODEL_OPTIONS], engine[EL_CLI_ENGINE_OPTIONS];
  const el_cli_group groups[] = {
      {"Text", text, sizeof text / sizeof *text},
      el_cli_model_group(&o.common, &o.adapter, model),
      el_cli_engine_group(&o.common, 0, engine),
  };
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code < 0 && !o.file) code = el_cli_usage_error(self, "a text is needed: -f FILE");
  if (code < 0) {
    o.common.options.ctx_size = o.chunk + 1; /* a prompt must leave room for a token, though none is asked for */
    o.common.signal_fd = el_cli_signals_open();
    code = measure_perplexity(&o);
  }
  if (o.common.signal_fd >= 0) close(o.common.signal_fd);
  el_cli_engine_close(&o.common);
  return code;
}

const el_cli_command el_cmd_bench_perplexity = {
    .name = "perplexity",
    .summary = "how well the model predicts a text",
    .usage = "[-m MODEL] -f FILE [--adapter NAME=PATH -a NAME] [options]",
    .about =
        "Splits the text into chunks and scores the second half of each. Perplexity is e to the power of\n"
        "the mean negative log-probability of the scored tokens; its standard error is printed beside it.\n"
        "The method is that of llama-perplexity, so the figures can be compared.",
    .examples =
        "  edgelora-bench perplexity -f text.txt\n"
        "  edgelora-bench perplexity -m model.gguf -f text.txt --adapter sql=adapters/sql -a sql",
    .run = run_perplexity};
