/* Runs a command that scores answers: it is started for each answer, talks through pipes, and is killed when it takes
 * too long. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json_out.h"
#include "cli/scorers.h"

enum { MAX_OUTPUT = 4096 }; /* bytes: a number and some white space */
enum { REAP_POLL_MS = 20 };

extern char **environ;

typedef struct child {
  pid_t pid;
  int in, out; /* our ends; -1: closed */
} child;

static void close_pipe(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* The command gets a process group of its own, so that all of it can be killed, and default signals, some of which this
 * process blocks or ignores. */
static int spawn_command(const char *line, int in, int out, pid_t *pid) {
  char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)line, NULL};
  posix_spawnattr_t attr;
  posix_spawn_file_actions_t actions;
  sigset_t none, usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  sigaddset(&usual, SIGXFSZ);
  int why = posix_spawnattr_init(&attr);
  if (why) return why;
  if (!(why = posix_spawn_file_actions_init(&actions))) {
    if (!(why = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO)) &&
        !(why = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO)) &&
        !(why = posix_spawnattr_setsigmask(&attr, &none)) && !(why = posix_spawnattr_setsigdefault(&attr, &usual)) &&
        !(why = posix_spawnattr_setpgroup(&attr, 0)) &&
        !(why =
              posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)))
      why = posix_spawn(pid, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  posix_spawnattr_destroy(&attr);
  return why;
}

static el_status start_command(const el_score_command *c, child *out, el_error *err) {
  int in[2], from[2];
  if (pipe2(in, O_CLOEXEC)) return el_fail(err, EL_ERR_IO, "the scorer: pipe: %s", strerror(errno));
  if (pipe2(from, O_CLOEXEC)) {
    int why = errno;
    close(in[0]);
    close(in[1]);
    return el_fail(err, EL_ERR_IO, "the scorer: pipe: %s", strerror(why));
  }
  int why = spawn_command(c->line, in[0], from[1], &out->pid);
  close(in[0]);
  close(from[1]);
  out->in = in[1];
  out->out = from[0];
  if (!why) {
    fcntl(out->in, F_SETFL, O_NONBLOCK);
    return EL_OK;
  }
  close_pipe(&out->in);
  close_pipe(&out->out);
  return el_fail(err, EL_ERR_IO, "the scorer: /bin/sh could not be started: %s", strerror(why));
}

/* SIGPIPE from a command that does not read its input must not end this process. It is blocked during the write, and a
 * pending one is consumed. */
static ssize_t write_quietly(int fd, const char *data, size_t len) {
  sigset_t pipe_set, before;
  sigemptyset(&pipe_set);
  sigaddset(&pipe_set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
  ssize_t n = write(fd, data, len);
  int why = errno;
  if (n < 0 && why == EPIPE) {
    const struct timespec now = {0};
    while (sigtimedwait(&pipe_set, NULL, &now) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = why;
  return n;
}

typedef struct talk {
  const el_score_command *c;
  child *child;
  uint64_t deadline; /* ns */
  char output[MAX_OUTPUT + 1];
  size_t n_output;
} talk;

static int left_ms(const talk *t) {
  uint64_t now = el_now_ns();
  return now >= t->deadline ? 0 : (int)((t->deadline - now) / 1000000) + 1;
}

static el_status fail_too_slow(const talk *t, el_error *err) {
  return el_fail(err, EL_ERR_IO, "the scorer took longer than %d ms", t->c->timeout_ms);
}

/* Writes all input and reads all output, until the command closes its end. */
static el_status talk_to_command(talk *t, const char *data, size_t len, el_error *err) {
  child *c = t->child;
  while (c->out >= 0) {
    if (len == 0) close_pipe(&c->in);
    struct pollfd fds[] = {
        {.fd = c->out, .events = POLLIN}, {.fd = c->in, .events = POLLOUT}, {.fd = t->c->stop_fd, .events = POLLIN}};
    int left = left_ms(t);
    if (left == 0) return fail_too_slow(t, err);
    int n = poll(fds, 3, left);
    if (n < 0 && errno != EINTR) return el_fail(err, EL_ERR_IO, "the scorer: poll: %s", strerror(errno));
    if (n <= 0) continue;
    if (fds[2].revents) return el_fail(err, EL_ERR_CLOSED, "the scorer was stopped");
    if (fds[1].revents) {
      ssize_t wrote = write_quietly(c->in, data, len);
      if (wrote > 0) {
        data += wrote;
        len -= (size_t)wrote;
      } else if (wrote < 0 && errno != EAGAIN && errno != EINTR) {
        len = 0; /* the command does not read the rest; only its output counts */
      }
    }
    if (!fds[0].revents) continue;
    if (t->n_output == MAX_OUTPUT)
      return el_fail(err, EL_ERR_FORMAT, "the scorer printed more than %d bytes; a number is expected", MAX_OUTPUT);
    ssize_t got = read(c->out, t->output + t->n_output, MAX_OUTPUT - t->n_output);
    if (got > 0) t->n_output += (size_t)got;
    if (got == 0) close_pipe(&c->out);
    if (got < 0 && errno != EINTR) return el_fail(err, EL_ERR_IO, "the scorer: read: %s", strerror(errno));
  }
  return EL_OK;
}

/* Waits for the command's end. Not every system has a descriptor to poll for it. */
static el_status reap_command(talk *t, int *how, el_error *err) {
  for (;;) {
    pid_t got = waitpid(t->child->pid, how, WNOHANG);
    if (got == t->child->pid) return EL_OK;
    if (got < 0 && errno != EINTR) return el_fail(err, EL_ERR_IO, "the scorer: waitpid: %s", strerror(errno));
    int left = left_ms(t);
    if (left == 0) return fail_too_slow(t, err);
    struct pollfd stop = {.fd = t->c->stop_fd, .events = POLLIN};
    if (poll(&stop, 1, left < REAP_POLL_MS ? left : REAP_POLL_MS) > 0)
      return el_fail(err, EL_ERR_CLOSED, "the scorer was stopped");
  }
}

static el_status read_command_score(talk *t, double *score, el_error *err) {
  char *end, shown[EL_SHOW];
  t->output[t->n_output] = 0;
  double value = strtod(t->output, &end);
  bool number = end != t->output && (size_t)(end - t->output) + strspn(end, " \t\r\n") == t->n_output;
  if (number && value >= 0 && value <= 1) {
    *score = value;
    return EL_OK;
  }
  return el_fail(err, EL_ERR_FORMAT, "the scorer printed '%s', which is no number from 0 to 1",
                 el_str_show((el_str){t->output, t->n_output}, shown, sizeof shown));
}

static bool describe_scoring(const el_scoring *s, el_buf *b) {
  if (!el_buf_append(b, "{\"prompt\":", 10) || !el_json_cstring(b, s->prompt) ||
      !el_buf_append(b, ",\"expected\":[", 13))
    return false;
  for (size_t i = 0; i < s->n_expected; i++)
    if (!el_buf_append(b, ",", i > 0) || !el_json_cstring(b, s->expected[i])) return false;
  return el_buf_append(b, "],\"answer\":", 11) &&
         el_json_string(b, s->answer.data ? s->answer.data : "", s->answer.len) &&
         el_buf_append(b, ",\"adapter\":", 11) && el_json_cstring(b, s->adapter) && el_buf_append(b, "}\n", 2);
}

el_status el_score_by_command(const el_score_command *c, const el_scoring *s, double *score, el_error *err) {
  el_buf input = {0};
  child process = {.in = -1, .out = -1};
  talk t = {.c = c, .child = &process, .deadline = el_now_ns() + (uint64_t)c->timeout_ms * 1000000};
  int how = 0;
  if (!describe_scoring(s, &input)) {
    el_buf_free(&input);
    return el_fail(err, EL_ERR_NO_MEMORY, "out of memory for the scorer's input");
  }
  el_status status = start_command(c, &process, err);
  if (!status) {
    status = talk_to_command(&t, input.data, input.len, err);
    if (!status) status = reap_command(&t, &how, err);
    if (status) {
      kill(-process.pid, SIGKILL);
      while (waitpid(process.pid, NULL, 0) < 0 && errno == EINTR) {
      }
    }
    close_pipe(&process.in);
    close_pipe(&process.out);
  }
  el_buf_free(&input);
  if (status) return status;
  if (WIFSIGNALED(how)) return el_fail(err, EL_ERR_IO, "the scorer was ended by signal %d", WTERMSIG(how));
  if (WEXITSTATUS(how)) return el_fail(err, EL_ERR_IO, "the scorer ended with status %d", WEXITSTATUS(how));
  return read_command_score(&t, score, err);
}
