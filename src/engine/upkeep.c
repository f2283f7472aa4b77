/* A thread that watches the directories of adapters, and writes down what has been learnt about them.
 *
 * Watches are what the system has few of (fs.inotify.max_user_watches), and they see neither what another machine does
 * on a network's file system nor what is mounted over a folder. So directories are also looked through now and then:
 * every minute, and every few seconds when some folder could not be watched, or is not there. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "adapter/index_file.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/engine.h"

enum {
  SETTLE_MS = 100,       /* after a change there are likely more: files are copied one by one */
  EVERY_MS = 60000,      /* directories are looked through at least that often, and what has been learnt is written */
  SLOW_MS = 5000,        /* the same while a folder is not watched */
  SHARE = 20,            /* looking through them takes a twentieth of a core at most */
  MAX_WATCHES = 1 << 14, /* each is memory of the kernel's */
};

void el_upkeep_init(el_upkeep *u) {
  u->inotify_fd = u->stop_fd = -1;
  u->slow_ms = SLOW_MS;
  u->max_watches = MAX_WATCHES;
}

bool el_upkeep_watch(el_engine *e, const char *path) {
  el_upkeep *u = &e->upkeep;
  int wd = inotify_add_watch(u->inotify_fd, path,
                             IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE_SELF |
                                 IN_MOVE_SELF | IN_ONLYDIR);
  bool fresh = wd > u->last_watch; /* numbers ascend; a path that is watched already keeps its own */
  if (fresh) {
    u->last_watch = wd;
    if (atomic_fetch_add(&u->n_watches, 1) >= u->max_watches) { /* known only now; its end will be reported */
      inotify_rm_watch(u->inotify_fd, wd);
      wd = -1;
      errno = ENOSPC;
    }
  }
  if (wd < 0) {
    atomic_store(&u->unwatched, true);
    if (u->inotify_fd >= 0 && errno != ENOENT && errno != ENOTDIR && !u->said_unwatched) {
      u->said_unwatched = true;
      el_logf(&e->log, EL_LOG_WARN, "%s: cannot be watched (%s); it and others are looked through every few seconds",
              path, strerror(errno));
    }
  }
  return fresh && wd >= 0;
}

/* ------------------------------------------------------------------- index */

static uint64_t index_key_of(const el_engine *e) {
  return el_index_file_key(el_model_sites(e->model), e->kernels, e->adapter_layout, e->memory.pool.block_bytes);
}

el_record_file *el_upkeep_read_index(el_engine *e) {
  el_record_file *f = NULL;
  el_error err;
  if (e->cache_dir && el_index_file_read(e->cache_dir, index_key_of(e), &f, &err))
    el_logf(&e->log, EL_LOG_WARN, "%s; it is made anew", err.message);
  return f;
}

static void save_index(el_engine *e) {
  uint64_t loads = atomic_load(&e->memory.count.loads);
  if (!e->cache_dir || loads == e->upkeep.saved_loads) return;
  e->upkeep.saved_loads = loads;
  el_record_file *before = el_upkeep_read_index(e);
  el_error err;
  if (el_index_file_write(e->cache_dir, index_key_of(e), e->registry, before, &err))
    el_logf(&e->log, EL_LOG_WARN, "what is known about adapters is not kept: %s", err.message);
  el_record_file_free(before);
}

/* ------------------------------------------------------------------- thread */

/* Takes all events that are there; false: there was no change among them. */
static bool drain(el_upkeep *u) {
  char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
  bool any = false;
  for (ssize_t n; (n = read(u->inotify_fd, events, sizeof events)) > 0;) {
    for (ssize_t at = 0; at < n;) {
      const struct inotify_event *event = (const struct inotify_event *)(const void *)(events + at);
      if (event->mask & IN_IGNORED)
        atomic_fetch_sub(&u->n_watches, 1); /* the end of a watch; that of its folder is told apart */
      else
        any = true;
      at += (ssize_t)(sizeof *event + event->len);
    }
  }
  return any;
}

/* Looks through all directories; how long it took. What is wrong with one is said when it begins. */
static uint64_t look_at_folders(el_engine *e) {
  el_upkeep *u = &e->upkeep;
  uint64_t begin = el_now_ns();
  el_error err;
  bool failed = u->rescan(e, NULL, &err) != EL_OK;
  if (failed && !u->said_failed) el_logf(&e->log, EL_LOG_WARN, "%s", err.message);
  u->said_failed = failed;
  return el_now_ns() - begin;
}

/* Whether it is time to look without word of a change. */
static bool is_due(const el_upkeep *u, uint64_t looked, uint64_t look_ns) {
  uint64_t ns = (uint64_t)(atomic_load(&u->unwatched) ? u->slow_ms : EVERY_MS) * 1000000, least = look_ns * SHARE;
  return el_now_ns() - looked >= (ns > least ? ns : least);
}

static void *upkeep_main(void *arg) {
  el_engine *e = arg;
  el_upkeep *u = &e->upkeep;
  pthread_setname_np(pthread_self(), "el-upkeep");
  bool changed = false;
  uint64_t looked = el_now_ns(), look_ns = 0, saved = looked;
  for (;;) {
    struct pollfd fds[2] = {{.fd = u->stop_fd, .events = POLLIN}, {.fd = u->inotify_fd, .events = POLLIN}};
    int n = poll(fds, 2, changed ? SETTLE_MS : u->slow_ms);
    if (n > 0 && fds[0].revents) break;
    if (n < 0) { /* interrupted, or the system has no memory to wait with */
      usleep(SETTLE_MS * 1000);
      continue;
    }
    if (n > 0) {
      changed = drain(u) || changed;
      /* Reports never stop while a file is written: what is there by now is looked at all the same. */
      if (changed && u->unsettled++ < 20) continue;
    }
    u->unsettled = 0;
    if (changed || is_due(u, looked, look_ns)) {
      look_ns = look_at_folders(e);
      looked = el_now_ns();
    }
    changed = false;
    if (el_now_ns() - saved < (uint64_t)EVERY_MS * 1000000) continue;
    saved = el_now_ns();
    save_index(e);
  }
  return NULL;
}

el_status el_upkeep_start(el_engine *e, el_status (*rescan)(el_engine *, el_rescan_result *, el_error *),
                          el_error *err) {
  el_upkeep *u = &e->upkeep;
  if (u->has_thread) return EL_OK;
  u->rescan = rescan;
  u->stop_fd = eventfd(0, EFD_CLOEXEC);
  u->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (u->inotify_fd < 0)
    el_logf(&e->log, EL_LOG_WARN, "adapter folders cannot be watched (%s); they are looked through every few seconds",
            strerror(errno));
  int failed = u->stop_fd < 0 ? errno : 0;
  if (!failed) {
    sigset_t all, before; /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&u->thread, NULL, upkeep_main, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
  }
  if (failed) {
    if (u->stop_fd >= 0) close(u->stop_fd);
    if (u->inotify_fd >= 0) close(u->inotify_fd);
    el_upkeep_init(u);
    return el_fail(err, EL_ERR_NO_MEMORY, "cannot watch adapter folders: %s", strerror(failed));
  }
  u->has_thread = true;
  return EL_OK;
}

void el_upkeep_stop(el_engine *e) {
  el_upkeep *u = &e->upkeep;
  if (u->has_thread) {
    eventfd_write(u->stop_fd, 1);
    pthread_join(u->thread, NULL);
    close(u->stop_fd);
    if (u->inotify_fd >= 0) close(u->inotify_fd);
    u->has_thread = false;
    save_index(e);
  }
  el_upkeep_init(u);
}
