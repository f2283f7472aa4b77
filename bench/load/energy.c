#include "bench/load/energy.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_sysfs(const char *path, char *out, size_t size) {
  FILE *f = fopen(path, "re");
  if (!f) return false;
  bool ok = fgets(out, (int)size, f) != NULL;
  fclose(f);
  if (ok) out[strcspn(out, "\n")] = 0;
  return ok;
}

static bool read_counter(const char *path, double *out) {
  char text[40], *end;
  if (!read_sysfs(path, text, sizeof text)) return false;
  *out = strtod(text, &end);
  return end != text && *out >= 0 && *out < 1e18;
}

/* "FOLDER/NAME"; false: too long. */
static bool join_path(char out[static 256], const char *folder, const char *name) {
  int n = snprintf(out, 256, "%s/%s", folder, name);
  return n > 0 && n < 256;
}

/* Packages alone: what a zone inside of them counts (cores, graphics), they count too. */
static bool add_rapl(el_energy *e, const char *zone) {
  char name[40], path[256];
  el_energy_source s = {.range = 0};
  if (!join_path(path, zone, "name") || !read_sysfs(path, name, sizeof name) || strncmp(name, "package", 7) != 0)
    return false;
  if (!join_path(path, zone, "max_energy_range_uj") || !read_counter(path, &s.range)) return false;
  if (!join_path(s.path, zone, "energy_uj") || !read_counter(s.path, &s.last)) return false;
  e->sources[e->n++] = s;
  return true;
}

/* Watts, or less than 0. */
static double read_power(const el_energy_source *s) {
  double first, second;
  if (!read_counter(s->path, &first)) return -1;
  if (!s->other[0]) return first * 1e-6;                                      /* microwatts */
  return read_counter(s->other, &second) ? first * 1e-3 * second * 1e-3 : -1; /* millivolts, milliamperes */
}

/* Its first channel: on boards with several it is that of the whole board (VDD_IN). */
static bool add_sensor(el_energy *e, const char *folder) {
  char name[40], path[256];
  el_energy_source s = {.range = 0};
  if (!join_path(path, folder, "name") || !read_sysfs(path, name, sizeof name) || strncmp(name, "ina", 3) != 0)
    return false;
  if (!join_path(s.path, folder, "power1_input")) return false;
  if ((s.last = read_power(&s)) < 0) {
    if (!join_path(s.path, folder, "in1_input") || !join_path(s.other, folder, "curr1_input")) return false;
    if ((s.last = read_power(&s)) < 0) return false;
  }
  e->sources[e->n++] = s;
  return true;
}

static void find_sources(el_energy *e, const char *sysfs, const char *pattern, bool (*add)(el_energy *, const char *)) {
  char path[256];
  glob_t found;
  if (!join_path(path, sysfs, pattern) || glob(path, 0, NULL, &found)) return;
  for (size_t i = 0; i < found.gl_pathc && e->n < EL_ENERGY_MAX_SOURCES; i++) add(e, found.gl_pathv[i]);
  globfree(&found);
}

void el_energy_open(el_energy *e, const char *sysfs, double now) {
  *e = (el_energy){.at = now};
  find_sources(e, sysfs, "class/powercap/intel-rapl:[0-9]*", add_rapl);
  if (e->n) {
    e->kind = "rapl";
    return;
  }
  find_sources(e, sysfs, "class/hwmon/hwmon*", add_sensor);
  if (e->n) e->kind = "ina";
}

static bool is_rapl(const el_energy *e) {
  return e->kind && strcmp(e->kind, "rapl") == 0;
}

void el_energy_sample(el_energy *e, double now) {
  for (int i = 0; i < e->n; i++) {
    el_energy_source *s = &e->sources[i];
    double value;
    if (is_rapl(e)) {
      if (!read_counter(s->path, &value)) continue;
      e->joules += (value >= s->last ? value - s->last : value + s->range - s->last) * 1e-6;
    } else {
      if ((value = read_power(s)) < 0) continue;
      e->joules += (value + s->last) / 2 * (now - e->at);
    }
    s->last = value;
  }
  e->at = now;
}
