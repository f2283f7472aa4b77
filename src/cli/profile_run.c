/* One thread submits requests, takes their answers in the order in which they end, scores them and writes the journal,
 * while the engine computes.
 *
 * Candidates run in groups. A group runs over all prompts before the next one begins. So each adapter is loaded about
 * once, however many there are, and a step still mixes the adapters of a group. The base is the first candidate of the
 * first group, so its answers, with which others may be compared, come early. */
#include "cli/profile_run.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/wait.h"
#include "cli/signals.h"

enum { GROUP = 8 };           /* candidates that run side by side */
enum { SIGNAL_POLL_MS = 50 }; /* how long a signal may wait if no answer arrives */
/* Seconds between two lines of progress. */
#define PROGRESS_TERMINAL 0.2
#define PROGRESS_LOG 5.0

typedef struct run run;

/* One request: owned by the engine's thread from el_submit to its DONE event, then by the main thread. */
typedef struct job {
  run *run;
  enum { FREE, RUNNING, DONE, HELD } state; /* HELD: done, but the base's answer for the comparison is not there yet */
  size_t row, candidate;
  uint64_t id;
  el_buf answer;
  bool no_memory; /* a piece of the answer was lost */
  el_finish finish;
  el_error error;
  struct job *next; /* in the queue of those that are done */
} job;

struct run {
  el_profile *p;
  bool chat; /* the model has a chat template */
  job *jobs; /* [p->in_flight] */
  size_t n_running, n_held;
  size_t group, row, candidate; /* where the next request is looked for; candidate counts in the group */

  pthread_mutex_t lock;
  pthread_cond_t some_done;
  job *done;

  size_t n_total, n_known, n_before; /* answers: all, known, known when the run began */
  double began, shown;
};

/* ---- prompts */

static el_status tokenize_row(const el_profile *p, bool chat, const char *text, int32_t **tokens, size_t *n,
                              el_error *err) {
  const el_tokenizer *t = el_engine_tokenizer(p->engine);
  const el_message user = {"user", text};
  if (chat) return el_chat_tokenize(t, &user, 1, true, tokens, n, err);
  return el_tokenize(t, text, strlen(text), EL_TOKENIZE_BOS, tokens, n, err);
}

/* A prompt is tokenized like a user's message on the server; a model without a chat template gets it as it is. */
static bool profile_has_template(const el_profile *p) {
  const el_message user = {"user", "x"};
  char *text = NULL;
  const el_tokenizer *t = el_engine_tokenizer(p->engine);
  bool has = el_tokenizer_has_template(t) && el_chat_render(t, &user, 1, true, &text, NULL) == EL_OK;
  el_free(text);
  return has;
}

static el_status at_line(const el_profile *p, size_t row, el_error *err) {
  return el_fail_prefix(err, "%s: line %zu", p->prompts_path, p->prompts->items[row].line);
}

el_status el_profile_check(const el_profile *p, el_error *err) {
  el_model_info info;
  el_engine_info(p->engine, &info);
  bool chat = profile_has_template(p);
  for (size_t i = 0; i < p->n_rows; i++) {
    int32_t *tokens = NULL;
    size_t n = 0;
    if (tokenize_row(p, chat, p->prompts->items[i].text, &tokens, &n, err)) return at_line(p, i, err);
    el_free(tokens);
    if (n + (size_t)p->max_tokens <= (size_t)info.ctx_size) continue;
    el_fail(err, EL_ERR_TOO_LONG,
            "the prompt has %zu tokens; with %d of an answer that is more than the context of %d (-c)", n,
            p->max_tokens, info.ctx_size);
    return at_line(p, i, err);
  }
  return EL_OK;
}

/* ---- what is known */

static double *score_at(const el_profile *p, size_t row, size_t candidate) {
  return &p->scores[row * p->n_names + candidate];
}

size_t el_profile_known(const el_profile *p) {
  size_t n = 0;
  for (size_t i = 0; i < p->n_rows * p->n_names; i++) n += !isnan(p->scores[i]);
  return n;
}

/* Whether a prompt's answers are compared to the base's. */
static bool needs_reference(const el_profile *p, size_t row) {
  return p->prompts->items[row].n_expected == 0;
}

bool el_profile_take(void *profile, const el_journal_answer *a) {
  el_profile *p = profile;
  size_t candidate = 0;
  while (candidate < p->n_names && strcmp(p->names[candidate], a->name)) candidate++;
  if (a->row >= p->n_rows || candidate == p->n_names || !isnan(*score_at(p, a->row, candidate))) return false;
  if (candidate == 0 && needs_reference(p, a->row) && !(p->references[a->row] = el_str_dup(a->answer))) return false;
  *score_at(p, a->row, candidate) = a->score;
  return true;
}

/* ---- requests */

/* Runs on the engine's thread. */
static void on_job_event(const el_event *event) {
  job *j = event->user;
  run *r = j->run;
  if (event->text_len > 0 && !el_buf_append(&j->answer, event->text, event->text_len)) j->no_memory = true;
  if (event->type != EL_EVENT_DONE) return;
  j->finish = event->done.finish;
  if (event->done.finish == EL_FINISH_ERROR) j->error = event->done.error;
  pthread_mutex_lock(&r->lock);
  j->next = r->done;
  r->done = j;
  pthread_cond_signal(&r->some_done);
  pthread_mutex_unlock(&r->lock);
}

/* Finds the next answer that is not known. False: there is none. */
static bool next_unknown(run *r, size_t *row, size_t *candidate) {
  const el_profile *p = r->p;
  while (r->group < p->n_names) {
    size_t in_group = p->n_names - r->group < GROUP ? p->n_names - r->group : GROUP;
    *row = r->row;
    *candidate = r->group + r->candidate;
    if (++r->candidate == in_group) {
      r->candidate = 0;
      if (++r->row == p->n_rows) {
        r->row = 0;
        r->group += GROUP;
      }
    }
    if (isnan(*score_at(p, *row, *candidate))) return true;
  }
  return false;
}

static job *free_job(run *r) {
  for (int i = 0; i < r->p->in_flight; i++)
    if (r->jobs[i].state == FREE) return &r->jobs[i];
  return NULL;
}

static el_status submit_job(run *r, job *j, el_error *err) {
  const el_profile *p = r->p;
  int32_t *tokens = NULL;
  size_t n = 0;
  el_status status = tokenize_row(p, r->chat, p->prompts->items[j->row].text, &tokens, &n, err);
  if (status) return at_line(p, j->row, err);
  el_request request = el_request_default();
  request.adapter.name = j->candidate > 0 ? p->names[j->candidate] : NULL;
  request.prompt = tokens;
  request.n_prompt = n;
  request.max_tokens = p->max_tokens;
  request.on_event = on_job_event;
  request.user = j;
  j->state = RUNNING;
  j->answer.len = 0;
  j->no_memory = false;
  status = el_submit(p->engine, &request, &j->id, err);
  el_free(tokens);
  if (!status) r->n_running++;
  if (status) j->state = FREE;
  return status ? at_line(p, j->row, err) : EL_OK;
}

static el_status submit_some(run *r, el_error *err) {
  job *j;
  while ((j = free_job(r)) && next_unknown(r, &j->row, &j->candidate)) {
    el_status status = submit_job(r, j, err);
    if (status) return status;
  }
  return EL_OK;
}

/* ---- answers */

static el_status score_job(const el_profile *p, const job *j, double *out, el_error *err) {
  const el_prompt *prompt = &p->prompts->items[j->row];
  const char *reference = p->references[j->row];
  el_scoring s = {.prompt = prompt->text,
                  .adapter = p->names[j->candidate],
                  .expected = (const char *const *)prompt->expected,
                  .n_expected = prompt->n_expected,
                  .answer = {j->answer.data ? j->answer.data : "", j->answer.len}};
  if (needs_reference(p, j->row)) {
    s.expected = &reference;
    s.n_expected = 1;
    return el_score(EL_SCORER_F1, &s, out, err);
  }
  el_scorer_kind kind = prompt->own_scorer ? prompt->scorer : p->scorer;
  return kind == EL_SCORER_COMMAND ? el_score_by_command(&p->command, &s, out, err) : el_score(kind, &s, out, err);
}

/* Scores an answer and writes it down. */
static el_status settle(run *r, job *j, el_error *err) {
  const el_profile *p = r->p;
  double value = 1; /* of the base where it is what is expected */
  el_str answer = {j->answer.data ? j->answer.data : "", j->answer.len};
  bool is_reference = j->candidate == 0 && needs_reference(p, j->row);
  el_status status = EL_OK;
  if (is_reference && !(p->references[j->row] = el_str_dup(answer)))
    return el_fail(err, EL_ERR_NO_MEMORY, "out of memory for an answer");
  if (!is_reference) status = score_job(p, j, &value, err);
  const el_journal_answer a = {.row = j->row, .name = p->names[j->candidate], .score = value, .answer = answer};
  if (!status) status = el_journal_add(p->journal, &a, err);
  if (status) return status;
  *score_at(p, j->row, j->candidate) = value;
  r->n_known++;
  j->state = FREE;
  return EL_OK;
}

/* Answers that waited for the base's. */
static el_status settle_held(run *r, size_t row, el_error *err) {
  for (int i = 0; r->n_held > 0 && i < r->p->in_flight; i++) {
    job *j = &r->jobs[i];
    if (j->state != HELD || j->row != row) continue;
    r->n_held--;
    el_status status = settle(r, j, err);
    if (status) return status;
  }
  return EL_OK;
}

static el_status finish_job(run *r, job *j, el_error *err) {
  const el_profile *p = r->p;
  el_status status;
  if (j->finish == EL_FINISH_ERROR) {
    *err = j->error;
    status = j->error.code ? j->error.code : EL_ERR_INVALID;
  } else if (j->finish == EL_FINISH_CANCELLED) {
    status = el_fail(err, EL_ERR_CLOSED, "the request was cancelled");
  } else if (j->no_memory) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "out of memory for an answer");
  } else if (j->candidate > 0 && needs_reference(p, j->row) && !p->references[j->row]) {
    j->state = HELD;
    r->n_held++;
    return EL_OK;
  } else {
    status = settle(r, j, err);
    if (!status && j->candidate == 0) status = settle_held(r, j->row, err);
  }
  if (!status) return EL_OK;
  return el_fail_prefix(err, "%s: line %zu, %s", p->prompts_path, p->prompts->items[j->row].line,
                        p->names[j->candidate]);
}

/* A job that is done; waits a little if there is none yet. */
static job *take_done_job(run *r) {
  pthread_mutex_lock(&r->lock);
  if (!r->done) el_cond_wait(&r->some_done, &r->lock, el_deadline_in(SIGNAL_POLL_MS));
  job *done = r->done;
  r->done = NULL;
  pthread_mutex_unlock(&r->lock);
  return done;
}

/* Cancels running jobs, so that no event arrives for a job that is gone. */
static void cancel_jobs(run *r) {
  for (int i = 0; i < r->p->in_flight; i++)
    if (r->jobs[i].state == RUNNING) el_cancel(r->p->engine, r->jobs[i].id);
  while (r->n_running > 0)
    for (job *j = take_done_job(r); j; j = j->next) r->n_running--;
}

/* ---- progress */

static void show_profile_progress(run *r, bool last) {
  bool terminal = isatty(STDERR_FILENO);
  double now = el_seconds(), took = now - r->began;
  if (r->p->quiet || (!last && now - r->shown < (terminal ? PROGRESS_TERMINAL : PROGRESS_LOG))) return;
  r->shown = now;
  double rate = took > 0 ? (double)(r->n_known - r->n_before) / took : 0;
  double left = rate > 0 ? (double)(r->n_total - r->n_known) / rate : 0;
  fprintf(stderr, "%s%zu of %zu answers, %.1f/s", terminal ? "\r" : "edgelora: profile: ", r->n_known, r->n_total,
          rate);
  if (!last && rate > 0) fprintf(stderr, left < 90 ? ", %.0f s left" : ", %.0f min left", left < 90 ? left : left / 60);
  fputs(terminal ? (last ? "\033[K\n" : "\033[K") : "\n", stderr);
}

/* ---- */

static el_status run_profile_jobs(run *r, int *signal, el_error *err) {
  el_status status = EL_OK;
  while (!status) {
    *signal = el_cli_signal_take(r->p->signal_fd, 0);
    if (*signal || (status = submit_some(r, err))) break;
    if (r->n_running == 0) break;
    job *next;
    for (job *j = take_done_job(r); j; j = next) {
      next = j->next;
      r->n_running--;
      j->state = DONE;
      if (!status) status = finish_job(r, j, err);
    }
    show_profile_progress(r, false);
  }
  /* A scorer that was stopped by a signal is not a failure. */
  if (status == EL_ERR_CLOSED && (*signal = el_cli_signal_take(r->p->signal_fd, 0))) status = EL_OK;
  show_profile_progress(r, true);
  return status;
}

el_status el_profile_run(el_profile *p, int *signal, el_error *err) {
  run r = {.p = p, .n_total = p->n_rows * p->n_names, .n_before = el_profile_known(p), .began = el_seconds()};
  r.n_known = r.n_before;
  r.shown = r.began;
  r.chat = profile_has_template(p);
  r.jobs = calloc((size_t)p->in_flight, sizeof *r.jobs);
  if (!r.jobs) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory for %d requests", p->in_flight);
  for (int i = 0; i < p->in_flight; i++) r.jobs[i].run = &r;
  pthread_mutex_init(&r.lock, NULL);
  el_cond_init(&r.some_done);
  el_status status = run_profile_jobs(&r, signal, err);
  cancel_jobs(&r);
  for (int i = 0; i < p->in_flight; i++) el_buf_free(&r.jobs[i].answer);
  free(r.jobs);
  pthread_cond_destroy(&r.some_done);
  pthread_mutex_destroy(&r.lock);
  return status;
}
