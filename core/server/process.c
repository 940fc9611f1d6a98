/* SPDX-License-Identifier: Apache-2.0 */
/* The process_* metrics that every Prometheus client exposes, from /proc. */
#include "metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct proc {
    double cpu_seconds;
    unsigned long long start_ticks, virtual_bytes;
    unsigned long long resident_bytes;
};

/* Fields 14, 15, 22, 23 and 24 of /proc/self/stat; the second one may hold anything in its
 * parentheses. */
static int read_stat(struct proc *p)
{
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return 0;
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    text[n] = 0;
    const char *rest = strrchr(text, ')');
    unsigned long user, system;
    long pages;
    if (!rest || sscanf(rest + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d "
                        "%*d %*d %llu %llu %ld",
                        &user, &system, &p->start_ticks, &p->virtual_bytes, &pages) != 5)
        return 0;
    p->cpu_seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    p->resident_bytes = (unsigned long long)pages * (unsigned long long)sysconf(_SC_PAGESIZE);
    return 1;
}

static double start_time(unsigned long long ticks)
{
    struct timespec boot, wall;
    (void)clock_gettime(CLOCK_BOOTTIME, &boot);
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    return (double)(wall.tv_sec - boot.tv_sec) + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9 +
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

unsigned pra__open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    if (!dir)
        return 0;
    while (readdir(dir))
        count++;
    (void)closedir(dir);
    return count > 3 ? count - 3 : 0; /* ".", ".." and the directory itself */
}

int pra__process_metrics_write(pra_buffer *out)
{
    struct proc p;
    if (!read_stat(&p))
        return PRA_OK;
    struct rlimit files = {0, 0};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {"process_cpu_seconds_total", "counter", "User and system CPU time.", p.cpu_seconds},
        {"process_resident_memory_bytes", "gauge", "Resident memory.", (double)p.resident_bytes},
        {"process_virtual_memory_bytes", "gauge", "Virtual memory.", (double)p.virtual_bytes},
        {"process_start_time_seconds", "gauge", "Start of the process since the Unix epoch.",
         start_time(p.start_ticks)},
        {"process_open_fds", "gauge", "Open file descriptors.", pra__open_files()},
        {"process_max_fds", "gauge", "Limit of open file descriptors.", (double)files.rlim_cur},
    };
    int rc = PRA_OK;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++)
        rc = pra__print(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", rows[i].name, rows[i].help,
                        rows[i].name, rows[i].type, rows[i].name, rows[i].value);
    return rc;
}
