/* What a process may still take, of trees of files as the kernel writes them. */
#include "base/available_memory.h"

#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "fixture.h"

#define GIB ((uint64_t)1 << 30)
#define SERVICE "/system.slice/edgelora.service"

static char root[64];

static int make_root(void **state) {
  strcpy(root, "/tmp/available-memory-XXXXXX");
  return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
  return remove(path);
}

static int remove_root(void **state) {
  return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A file of the tree, with its folders. */
static void put(const char *name, const char *text) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s%s", root, name);
  for (char *p = strchr(path + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
    *p = 0;
    mkdir(path, 0700);
    *p = '/';
  }
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static void put_bytes(const char *name, uint64_t bytes) {
  char text[32];
  snprintf(text, sizeof text, "%llu\n", (unsigned long long)bytes);
  put(name, text);
}

static void put_machine(uint64_t available) {
  char text[128];
  snprintf(text, sizeof text, "MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable:   %llu kB\nBuffers: 7 kB\n",
           (unsigned long long)(available / 1024));
  put("/proc/meminfo", text);
}

static void without_groups_it_is_the_machines(void **state) {
  assert_int_equal(el_available_memory(root), 0);
  put_machine(8 * GIB);
  assert_int_equal(el_available_memory(root), 8 * GIB);
  put("/proc/self/cgroup", "");
  assert_int_equal(el_available_memory(root), 8 * GIB);
  assert_true(el_available_memory("") > 0);
}

static void a_services_limit_is_found_by_its_path(void **state) {
  put_machine(8 * GIB);
  put("/proc/self/cgroup", "0::" SERVICE "\n");
  put("/sys/fs/cgroup" SERVICE "/memory.max", "max\n");
  put("/sys/fs/cgroup" SERVICE "/memory.high", "max\n");
  put_bytes("/sys/fs/cgroup" SERVICE "/memory.current", GIB);
  assert_int_equal(el_available_memory(root), 8 * GIB);
  put_bytes("/sys/fs/cgroup" SERVICE "/memory.max", 4 * GIB);
  assert_int_equal(el_available_memory(root), 3 * GIB);
  put_bytes("/sys/fs/cgroup" SERVICE "/memory.high", 3 * GIB);
  assert_int_equal(el_available_memory(root), 2 * GIB);
  put("/sys/fs/cgroup" SERVICE "/memory.stat", "anon 5\nfile 536870912\nactive_file 9\ninactive_file 536870912\n");
  assert_int_equal(el_available_memory(root), 2 * GIB + GIB / 2);
  put_bytes("/sys/fs/cgroup/memory.max", GIB);
  put_bytes("/sys/fs/cgroup/memory.current", 0);
  assert_int_equal(el_available_memory(root), GIB);
}

static void a_limit_of_a_group_above_holds_too(void **state) {
  put_machine(8 * GIB);
  put("/proc/self/cgroup", "0::" SERVICE "\n");
  put_bytes("/sys/fs/cgroup" SERVICE "/memory.max", 4 * GIB);
  put_bytes("/sys/fs/cgroup" SERVICE "/memory.current", 0);
  put_bytes("/sys/fs/cgroup/system.slice/memory.max", 5 * GIB);
  put_bytes("/sys/fs/cgroup/system.slice/memory.current", 3 * GIB);
  put_bytes("/sys/fs/cgroup/user.slice/memory.max", 1); /* somebody else's */
  put_bytes("/sys/fs/cgroup/user.slice/memory.current", 0);
  assert_int_equal(el_available_memory(root), 2 * GIB);
}

static void version_1_has_a_tree_of_its_own_and_a_number_for_no_limit(void **state) {
  put_machine(8 * GIB);
  put("/proc/self/cgroup", "12:cpu,cpuacct:/a\n9:memory:" SERVICE "\n1:name=systemd:/memory\n0::/\n");
  put("/sys/fs/cgroup/memory" SERVICE "/memory.limit_in_bytes", "9223372036854771712\n");
  put_bytes("/sys/fs/cgroup/memory" SERVICE "/memory.usage_in_bytes", GIB);
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  put_bytes("/sys/fs/cgroup/memory/memory.usage_in_bytes", 7 * GIB);
  assert_int_equal(el_available_memory(root), 8 * GIB);
  put_bytes("/sys/fs/cgroup/memory" SERVICE "/memory.limit_in_bytes", 3 * GIB);
  assert_int_equal(el_available_memory(root), 2 * GIB);
  put("/sys/fs/cgroup/memory" SERVICE "/memory.stat", "inactive_file 0\ntotal_inactive_file 1024\n");
  assert_int_equal(el_available_memory(root), 2 * GIB + 1024);
  put_bytes("/sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes", GIB);
  put_bytes("/sys/fs/cgroup/memory/system.slice/memory.usage_in_bytes", 0);
  assert_int_equal(el_available_memory(root), GIB);
}

/* It has the host's path, and its own group where the host has the root. */
static void a_container_that_does_not_see_the_hosts_tree_has_its_limit_at_the_top(void **state) {
  put_machine(8 * GIB);
  put("/proc/self/cgroup", "4:memory:/docker/0123\n");
  put_bytes("/sys/fs/cgroup/memory/memory.limit_in_bytes", GIB);
  put_bytes("/sys/fs/cgroup/memory/memory.usage_in_bytes", GIB / 4);
  assert_int_equal(el_available_memory(root), GIB / 4 * 3);
}

static void a_group_that_is_full_is_not_taken_for_one_that_is_not_known(void **state) {
  put_machine(8 * GIB);
  put("/proc/self/cgroup", "0::/\n");
  put_bytes("/sys/fs/cgroup/memory.max", GIB);
  put_bytes("/sys/fs/cgroup/memory.current", GIB + 4096);
  assert_int_equal(el_available_memory(root), 1);
}

static void what_is_not_as_the_kernel_writes_it_is_passed_over(void **state) {
  put_machine(8 * GIB);
  put("/proc/self/cgroup", "\n0\n0:\n::\n0::\n4:memory\n4:memory:\n4:memory,:a/b\n0::/../x\n0::no/slash");
  put("/sys/fs/cgroup/memory.max", "");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "much\n");
  assert_int_equal(el_available_memory(root), 8 * GIB);
  put_bytes("/sys/fs/cgroup/memory.max", GIB); /* and nothing says what is used */
  assert_int_equal(el_available_memory(root), GIB);
}

#define IN_A_TREE(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_A_TREE(without_groups_it_is_the_machines),
      IN_A_TREE(a_services_limit_is_found_by_its_path),
      IN_A_TREE(a_limit_of_a_group_above_holds_too),
      IN_A_TREE(version_1_has_a_tree_of_its_own_and_a_number_for_no_limit),
      IN_A_TREE(a_container_that_does_not_see_the_hosts_tree_has_its_limit_at_the_top),
      IN_A_TREE(a_group_that_is_full_is_not_taken_for_one_that_is_not_known),
      IN_A_TREE(what_is_not_as_the_kernel_writes_it_is_passed_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
