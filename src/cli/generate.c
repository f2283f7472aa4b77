#include "cli/generate.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/signals.h"

/* How long a signal may wait if no token arrives. */
enum { SIGNAL_POLL_MS = 50 };

el_status el_cli_generate(el_engine *e, const el_request *request, int signal_fd, el_write_fn write,
                          el_cli_decided_fn decided, void *user, el_cli_answer *out, el_error *err) {
  uint64_t id;
  el_status status = el_submit(e, request, &id, err);
  if (status) return status;
  el_cli_answer answer = {0};
  bool writing = true;
  for (;;) {
    el_event event;
    status = el_next_event(e, id, SIGNAL_POLL_MS, &event);
    int signal = el_cli_signal_take(signal_fd, 0);
    if (signal) {
      if (answer.signal) _exit(EL_EXIT_SIGNAL_BASE + signal);
      answer.signal = signal;
      el_cancel(e, id);
    }
    if (status == EL_ERR_BUSY) continue;
    if (status) {
      err->code = status;
      snprintf(err->message, sizeof err->message, "the request was lost (%s)", el_status_name(status));
      return status;
    }
    if (event.type == EL_EVENT_DECISION && decided) decided(user, &event.decision);
    if (event.text_len > 0 && writing && !write(user, event.text, event.text_len)) {
      writing = false;
      el_cancel(e, id);
    }
    if (event.type != EL_EVENT_DONE) continue;
    const el_event_done *done = &event.done;
    answer.finish = done->finish;
    answer.not_invoked = done->not_invoked;
    answer.prompt_tokens = done->prompt_tokens;
    answer.completion_tokens = done->completion_tokens;
    answer.prompt_ms = done->prompt_ms;
    answer.decode_ms = done->decode_ms;
    if (done->finish == EL_FINISH_ERROR) {
      *err = done->error;
      return done->error.code ? done->error.code : EL_ERR_INVALID;
    }
    *out = answer;
    return EL_OK;
  }
}
