/* Adapters on disk that grow, shrink, break, vanish and are replaced, for tests of what an engine makes of that. On the
 * fake model: what an adapter takes is its rank, what it answers is decided by `seed`. */
#ifndef EL_TESTS_CHANGING_ADAPTERS_H
#define EL_TESTS_CHANGING_ADAPTERS_H

#include <fcntl.h>
#include <stdatomic.h>

#include "engine_fixture.h"
#include "random_request.h"

typedef struct shelf_item {
  const char *name;
  int rank;
  float seed;
  int activated;      /* how, one of shelf_activations; 0: it is a plain one */
  bool good;          /* its files are an adapter */
  atomic_int version; /* another one after each change */
} shelf_item;

/* All changes are written down beside the files: no two have the same time, so that none goes unnoticed. */
typedef struct shelf {
  char dir[64];
  uint64_t n_changes;
  bool activates; /* some of its adapters are activated ones */
} shelf;

/* cmocka's assertions are for the main thread. */
static inline void must(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "%s\n", what);
  abort();
}

static inline void shelf_stamp(shelf *s, const char *path) {
  uint64_t n = ++s->n_changes;
  const struct timespec at[2] = {{.tv_sec = (time_t)(1000000 + n)}, {.tv_sec = (time_t)(1000000 + n)}};
  utimensat(AT_FDCWD, path, at, 0);
}

static inline void shelf_path(const shelf *s, const shelf_item *i, const char *file, char out[160]) {
  snprintf(out, 160, "%s/%s%s%s", s->dir, i->name, file ? "/" : "", file ? file : "");
}

/* What a configuration has besides: nothing, tokens that tests' prompts have now and then, or their text. */
enum { N_ACTIVATIONS = 5 };
static const char *const shelf_activations[N_ACTIVATIONS] = {
    "", ",\"alora_invocation_tokens\":[98]", ",\"alora_invocation_tokens\":[97]",
    ",\"alora_invocation_tokens\":[97,97]", ",\"invocation_string\":\"ab\""};

static const char *const shelf_files[] = {"adapter_model.safetensors", "adapter_config.json"};

/* Takes away a file, or the folder in its place. */
static inline void shelf_unlink(const shelf *s, const shelf_item *i, const char *file) {
  char path[160];
  shelf_path(s, i, file, path);
  if (unlink(path)) rmdir(path);
}

static inline void shelf_remove(shelf *s, shelf_item *i) {
  for (int f = 0; f < 2; f++) shelf_unlink(s, i, shelf_files[f]);
  shelf_unlink(s, i, "examples.jsonl");
  shelf_unlink(s, i, NULL);
}

/* Another adapter of the same name. */
static inline void shelf_put_activated(shelf *s, shelf_item *i, int rank, float seed, int activated) {
  char path[160];
  shelf_remove(s, i);
  put_fake_peft_with(s->dir, i->name, rank, seed, shelf_activations[activated]);
  for (int f = 0; f < 2; f++) {
    shelf_path(s, i, shelf_files[f], path);
    shelf_stamp(s, path);
  }
  i->rank = rank;
  i->seed = seed;
  i->activated = activated;
  i->good = true;
  atomic_fetch_add(&i->version, 1);
}

static inline void shelf_put(shelf *s, shelf_item *i, int rank, float seed) {
  shelf_put_activated(s, i, rank, seed, 0);
}

/* What is no adapter, or not whole. */
static inline void shelf_break(shelf *s, shelf_item *i, int how) {
  const char *file = shelf_files[how & 1];
  char path[160], folder[160];
  shelf_path(s, i, file, path);
  shelf_path(s, i, NULL, folder);
  i->good = false;
  switch (how % 10 / 2) {
    case 0: shelf_unlink(s, i, file); break;
    case 1: /* cut off */
      if (!truncate(path, 40)) shelf_stamp(s, path);
      break;
    case 2: /* a folder in the place of a file */
      shelf_unlink(s, i, file);
      mkdir(path, 0700);
      break;
    case 3: /* all gone, or a file in the place of the folder */
      shelf_remove(s, i);
      if (how & 1) close(open(folder, O_CREAT | O_WRONLY, 0600));
      break;
    default: { /* something else */
      int fd = open(path, O_WRONLY | O_TRUNC);
      if (fd < 0) break;
      must(write(fd, "[1, 2, 3]", 9) == 9, "cannot write");
      close(fd);
      shelf_stamp(s, path);
    }
  }
  atomic_fetch_add(&i->version, 1);
}

static inline int shelf_activation(const shelf *s, uint64_t *rng) {
  return s->activates && below(rng, 2) ? below(rng, N_ACTIVATIONS) : 0;
}

/* One of all that can happen to it; what is large is larger than `pool` blocks. */
static inline void shelf_change(shelf *s, shelf_item *i, int pool, uint64_t *rng) {
  if (below(rng, 8) == 0) {
    shelf_break(s, i, below(rng, 10));
    return;
  }
  int rank = below(rng, 10) ? 1 + below(rng, 6) : pool - 3 + below(rng, 30);
  float seed = (float)(1 + below(rng, 1000));
  shelf_put_activated(s, i, rank < 1 ? 1 : rank, seed, shelf_activation(s, rng));
}

#endif
