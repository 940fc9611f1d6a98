/* SPDX-License-Identifier: Apache-2.0 */
/* Writes and a read through the handler into the SQLite store, every commit durable. Wall time:
 * most of it may be the disk's. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "stores/sqlite_store.h"

#define STR(literal)                                                                               \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

typedef struct scenario {
    const char *name;
    unsigned senders;
    unsigned requests; /* of each sender */
    unsigned series;   /* in a request; each sender has its own */
    unsigned samples;  /* of each series in a request */
    bool read_back;
} scenario;

typedef struct sender {
    pthread_t thread;
    const scenario *s;
    pra_handler *handler;
    pthread_barrier_t *start;
    unsigned number;
    bench_bytes *bodies;
} sender;

static char folder[64];
static char path[96];

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void remove_files(void)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-lock"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[112];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
}

/* ---- requests, made before the clock starts */

static void add_series(pra_write_request *request, const scenario *s, unsigned sender_number,
                       unsigned number, unsigned request_number)
{
    char instance[64], core[16];
    snprintf(instance, sizeof instance, "host-%u.example.com:9100",
             sender_number * 1000 + number / 8);
    snprintf(core, sizeof core, "%u", number % 8);
    const pra_label labels[] = {
        {STR("__name__"), STR("node_cpu_seconds_total")},
        {STR("cpu"), {core, strlen(core)}},
        {STR("instance"), {instance, strlen(instance)}},
        {STR("job"), STR("node")},
        {STR("mode"), STR("idle")},
    };
    bench_require(pra_write_request_add_series(request, labels, 5) == PRA_OK, "add series");
    for (unsigned i = 0; i < s->samples; i++) {
        int64_t t = 1700000000000 + (int64_t)(request_number * s->samples + i) * 15000;
        double value = 1000.0 + number + request_number * 0.37 + i * 0.01;
        bench_require(pra_write_request_add_samples(request, &t, &value, NULL, 1) == PRA_OK,
                      "add sample");
    }
}

static bench_bytes make_body(pra_write_request *request, pra_buffer *message, const scenario *s,
                             unsigned sender_number, unsigned request_number)
{
    pra_write_request_reset(request);
    pra_buffer_reset(message);
    for (unsigned i = 0; i < s->series; i++)
        add_series(request, s, sender_number, i, request_number);
    bench_require(pra_write_request_encode(request, PRA_WRITE_V1, message, NULL) == PRA_OK,
                  "encode");
    return bench_compress((bench_bytes){(char *)pra_buffer_data(message), pra_buffer_len(message)});
}

static void make_bodies(sender *who)
{
    pra_write_request *request;
    pra_buffer *message;
    who->bodies = calloc(who->s->requests, sizeof *who->bodies);
    bench_require(who->bodies && pra_write_request_new(NULL, &request) == PRA_OK &&
                      pra_buffer_new(NULL, &message) == PRA_OK,
                  "out of memory");
    for (unsigned i = 0; i < who->s->requests; i++)
        who->bodies[i] = make_body(request, message, who->s, who->number, i);
    pra_write_request_free(request);
    pra_buffer_free(message);
}

/* ---- exchanges */

static void exchange(pra_exchange *x, const char *target, bench_bytes body, int32_t status)
{
    static const pra_header headers[] = {
        {STR("Content-Encoding"), STR("snappy")},
        {STR("Content-Type"), STR("application/x-protobuf")},
    };
    const pra_request_head head = {
        .size = sizeof head,
        .method = STR("POST"),
        .target = {target, strlen(target)},
        .headers = headers,
        .header_count = 2,
    };
    if (pra_exchange_begin(x, &head) == PRA_OK &&
        pra_exchange_feed(x, body.ptr, body.len) == PRA_OK && pra_exchange_end(x) == PRA_OK)
        pra_exchange_run(x);
    bench_require(pra_exchange_status(x) == status, pra_exchange_error(x)->message);
}

static void *send_all(void *arg)
{
    sender *who = arg;
    pra_exchange *x;
    bench_require(pra_exchange_new(who->handler, NULL, &x) == PRA_OK, "exchange");
    pthread_barrier_wait(who->start);
    for (unsigned i = 0; i < who->s->requests; i++)
        exchange(x, "/api/v1/write", who->bodies[i], 204);
    pra_exchange_free(x);
    return NULL;
}

/* Returns the seconds from the first request to the last answer. */
static double run_senders(pra_handler *handler, const scenario *s)
{
    sender *all = calloc(s->senders, sizeof *all);
    pthread_barrier_t start;
    bench_require(all && pthread_barrier_init(&start, NULL, s->senders + 1) == 0, "set up");
    for (unsigned i = 0; i < s->senders; i++) {
        all[i] = (sender){.s = s, .handler = handler, .start = &start, .number = i};
        make_bodies(&all[i]);
        bench_require(pthread_create(&all[i].thread, NULL, send_all, &all[i]) == 0, "thread");
    }
    pthread_barrier_wait(&start);
    double begun = now_s();
    for (unsigned i = 0; i < s->senders; i++)
        pthread_join(all[i].thread, NULL);
    double seconds = now_s() - begun;
    for (unsigned i = 0; i < s->senders; i++) {
        for (unsigned k = 0; k < s->requests; k++)
            free(all[i].bodies[k].ptr);
        free(all[i].bodies);
    }
    pthread_barrier_destroy(&start);
    free(all);
    return seconds;
}

static void read_all(pra_handler *handler, const scenario *s)
{
    pra_read_request *request;
    pra_buffer *message;
    pra_exchange *x;
    pra_exchange_stats stats = {.size = sizeof stats};
    bench_require(
        pra_read_request_new(NULL, &request) == PRA_OK &&
            pra_buffer_new(NULL, &message) == PRA_OK &&
            pra_exchange_new(handler, NULL, &x) == PRA_OK &&
            pra_read_request_add_query(request, 0, INT64_MAX) == PRA_OK &&
            pra_read_request_add_matcher(request, PRA_MATCH_EQUAL, (pra_str)STR("__name__"),
                                         (pra_str)STR("node_cpu_seconds_total")) == PRA_OK &&
            pra_read_request_encode(request, message, NULL) == PRA_OK,
        "read request");
    bench_bytes body =
        bench_compress((bench_bytes){(char *)pra_buffer_data(message), pra_buffer_len(message)});
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        double begun = now_s();
        exchange(x, "/api/v1/read", body, 200);
        double seconds = now_s() - begun;
        best = seconds < best ? seconds : best;
    }
    bench_require(pra_exchange_get_stats(x, &stats) == PRA_OK &&
                      stats.samples == (uint64_t)s->senders * s->requests * s->series * s->samples,
                  "not all samples came back");
    bench_value(s->name, "rows read a second", (double)stats.samples / best, "rows/s", -1);
    free(body.ptr);
    pra_exchange_free(x);
    pra_buffer_free(message);
    pra_read_request_free(request);
}

static void report(const scenario *s, sql_store *store, double seconds)
{
    sql_stats *stats = &store->stats;
    double rows = (double)s->senders * s->requests * s->series * s->samples;
    double commits = (double)atomic_load(&stats->commits);
    double requests = (double)atomic_load(&stats->commit_requests);
    bench_require((double)atomic_load(&stats->inserted[PRA_DATUM_SAMPLE]) == rows,
                  "rows are missing");
    bench_value(s->name, "rows a second", rows / seconds, "rows/s", -1);
    bench_value(s->name, "share of the time in SQLite",
                100 * (double)atomic_load(&stats->write_ns) / 1e9 / seconds, "%", -1);
    bench_value(s->name, "share of the time in commits",
                100 * (double)atomic_load(&stats->commit_ns) / 1e9 / seconds, "%", -1);
    bench_value(s->name, "requests", requests, "", -1);
    bench_value(s->name, "commits", commits, "", s->senders > 1 ? requests - 1 : -1);
}

static void run_scenario(const scenario *s)
{
    pra_storage storage;
    pra_handler *handler;
    pra_error err = {0};
    remove_files();
    bench_require(pra_store_sqlite_open(NULL, path, NULL, &storage, &err) == PRA_OK, err.message);
    bench_require(pra_handler_new(NULL, &storage, NULL, &handler, &err) == PRA_OK, err.message);
    double seconds = run_senders(handler, s);
    report(s, storage.self, seconds);
    if (s->read_back)
        read_all(handler, s);
    pra_handler_free(handler);
    if (s->read_back) {
        FILE *file = fopen(path, "rb");
        bench_require(file && fseek(file, 0, SEEK_END) == 0, "no file");
        bench_value(s->name, "bytes a row on disk",
                    (double)ftell(file) / s->senders / s->requests / s->series / s->samples, "B",
                    -1);
        fclose(file);
    }
}

/* ---- a streamed answer: time, and the memory it takes however long it is */

static double resident_mib(void)
{
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    bench_require(file && fscanf(file, "%ld %ld", &total, &resident) == 2, "no statm");
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1024 * 1024);
}

/* In a process of its own, so that what writing took is not there to be used again. */
static void fill(const scenario *s)
{
    pid_t child = fork();
    int status;
    bench_require(child >= 0, "fork");
    if (child == 0) {
        pra_storage storage;
        pra_handler *handler;
        bench_require(pra_store_sqlite_open(NULL, path, NULL, &storage, NULL) == PRA_OK &&
                          pra_handler_new(NULL, &storage, NULL, &handler, NULL) == PRA_OK,
                      "open");
        for (unsigned part = 0; part < s->senders; part++) {
            scenario one = *s;
            sender who = {.s = &one, .handler = handler, .number = part};
            pthread_barrier_t start;
            one.senders = 1;
            pthread_barrier_init(&start, NULL, 1);
            who.start = &start;
            make_bodies(&who);
            send_all(&who);
            for (unsigned k = 0; k < s->requests; k++)
                free(who.bodies[k].ptr);
            free(who.bodies);
            pthread_barrier_destroy(&start);
        }
        pra_handler_free(handler);
        _exit(0);
    }
    bench_require(waitpid(child, &status, 0) == child && status == 0, "the filling failed");
}

static bench_bytes streamed_request(void)
{
    pra_read_request *request = NULL;
    pra_buffer *message = NULL;
    bench_require(
        pra_read_request_new(NULL, &request) == PRA_OK &&
            pra_buffer_new(NULL, &message) == PRA_OK &&
            pra_read_request_add_query(request, 0, INT64_MAX) == PRA_OK &&
            pra_read_request_add_matcher(request, PRA_MATCH_EQUAL, (pra_str)STR("__name__"),
                                         (pra_str)STR("node_cpu_seconds_total")) == PRA_OK &&
            pra_read_request_add_accepted(request, PRA_RESPONSE_STREAMED_XOR_CHUNKS) == PRA_OK &&
            pra_read_request_encode(request, message, NULL) == PRA_OK,
        "read request");
    bench_bytes body =
        bench_compress((bench_bytes){(char *)pra_buffer_data(message), pra_buffer_len(message)});
    pra_buffer_free(message);
    pra_read_request_free(request);
    return body;
}

static void read_streamed(pra_exchange *x, const scenario *s)
{
    pra_exchange_stats stats = {.size = sizeof stats};
    const void *piece;
    size_t len;
    int code;
    bench_bytes body = streamed_request();
    double before = resident_mib(), most = before, begun = now_s();
    exchange(x, "/api/v1/read", body, 200);
    while ((code = pra_exchange_body(x, &piece, &len)) == PRA_OK) {
        double now = resident_mib();
        most = now > most ? now : most;
    }
    double seconds = now_s() - begun;
    bench_require(code == PRA_DONE && pra_exchange_get_stats(x, &stats) == PRA_OK &&
                      stats.samples == (uint64_t)s->senders * s->requests * s->series * s->samples,
                  "not all samples came back");
    bench_value(s->name, "rows read a second", (double)stats.samples / seconds, "rows/s", -1);
    bench_value(s->name, "rows", (double)stats.samples, "", -1);
    bench_value(s->name, "growth of resident memory", most - before, "MiB", 32);
    free(body.ptr);
}

static void run_streamed(const scenario *s)
{
    pra_storage storage;
    pra_handler *handler = NULL;
    pra_exchange *x = NULL;
    remove_files();
    fill(s);
    bench_require(pra_store_sqlite_open(NULL, path, NULL, &storage, NULL) == PRA_OK &&
                      pra_handler_new(NULL, &storage, NULL, &handler, NULL) == PRA_OK &&
                      pra_exchange_new(handler, NULL, &x) == PRA_OK,
                  "open");
    read_streamed(x, s);
    pra_exchange_free(x);
    pra_handler_free(handler);
}

int main(int argc, char **argv)
{
    /* The day (57.6 million rows) with PRA_BENCH_DAY=1 in the environment. */
    static const scenario hour = {"SQLite, streamed, 1,000 series x 1 hour", 100, 1, 10, 240, true};
    static const scenario day = {"SQLite, streamed, 10,000 series x 1 day", 200, 24, 50, 240, true};
    static const scenario scenarios[] = {
        {"SQLite, 1 sender, 2,000 series x 1 sample", 1, 100, 2000, 1, true},
        {"SQLite, 8 senders, 2,000 series x 1 sample", 8, 12, 2000, 1, false},
        {"SQLite, 8 senders, 20 series x 5 samples", 8, 100, 20, 5, false},
        {"SQLite, 1 sender, 100 series x 20 samples (backlog)", 1, 100, 100, 20, false},
    };
    bench_args args;
    bench_parse(argc, argv, &args);
    if (args.only_group)
        return 0;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pra-bench-XXXXXX",
             tmp && strlen(tmp) < sizeof folder - 20 ? tmp : "/tmp");
    bench_require(mkdtemp(folder) != NULL, "cannot make a folder");
    snprintf(path, sizeof path, "%s/store.db", folder);
    run_streamed(getenv("PRA_BENCH_DAY") ? &day : &hour); /* first: what it takes must be new */
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        run_scenario(&scenarios[i]);
    remove_files();
    rmdir(folder);
    return 0;
}
