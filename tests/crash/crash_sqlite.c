/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 loop over the SQLite store:  crash_sqlite [ROUNDS [SEED]]
 *
 * A child process writes numbered samples from several threads and tells over a pipe what it is
 * about to send and what was acknowledged. The parent kills it at a random moment, opens the store
 * and checks, for each thread: every acknowledged sample is there; of the request that was under
 * way all or nothing; no sample that was not sent, none twice, none with another value. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pra_stores.h"
#include "remote/write_result.h"
#include "stores/sqlite_store.h"

enum { THREADS = 4, MAX_PER_REQUEST = 50, PER_SERIES = 37, MAX_DELAY_MS = 120 };

/* Numbers below `to` of a thread are about to be sent, or were acknowledged. */
struct note {
    uint32_t thread;
    uint32_t acknowledged;
    int64_t to;
};

struct progress {
    int64_t sent[THREADS];
    int64_t acknowledged[THREADS];
};

static char folder[64];
static char path[96];

static void die(const char *what)
{
    fprintf(stderr, "crash_sqlite: %s (store left in %s)\n", what, folder);
    exit(1);
}

static void check(int ok, const char *what)
{
    if (!ok)
        die(what);
}

/* ---- the child */

struct sender {
    pthread_t thread;
    const pra_storage *store;
    int pipe;
    uint32_t number;
    int64_t next;
    unsigned seed;
};

static void tell(const struct sender *s, uint32_t acknowledged, int64_t to)
{
    struct note note = {s->number, acknowledged, to};
    if (write(s->pipe, &note, sizeof note) != (ssize_t)sizeof note)
        _exit(2);
}

/* Samples number from..to-1, each series taking PER_SERIES of them. */
static int build(pra_write_request *request, uint32_t thread, int64_t from, int64_t to)
{
    int code = PRA_OK;
    pra_write_request_reset(request);
    for (int64_t n = from; code == PRA_OK && n < to; n++) {
        double value = (double)(n * THREADS + thread);
        if (n == from || n % PER_SERIES == 0) {
            char block[24], name[8];
            snprintf(block, sizeof block, "%lld", (long long)(n / PER_SERIES));
            snprintf(name, sizeof name, "%u", thread);
            const pra_label labels[] = {{{"block", 5}, {block, strlen(block)}},
                                        {{"thread", 6}, {name, strlen(name)}}};
            code = pra_write_request_add_series(request, labels, 2);
        }
        if (code == PRA_OK)
            code = pra_write_request_add_samples(request, &n, &value, 1);
    }
    return code;
}

static void *send_for_ever(void *arg)
{
    struct sender *s = arg;
    pra_write_request *request;
    if (pra_write_request_new(NULL, &request) != PRA_OK)
        _exit(3);
    for (;;) {
        int64_t to = s->next + 1 + rand_r(&s->seed) % MAX_PER_REQUEST;
        pra_write_result result;
        pra_error err = {0};
        if (build(request, s->number, s->next, to) != PRA_OK)
            _exit(3);
        pra__write_result_init(&result, request);
        tell(s, 0, to);
        if (s->store->vtbl->write(s->store->self, NULL, request, &result, &err) != PRA_OK ||
            pra__write_result_any(&result)) {
            fprintf(stderr, "write failed: %s\n", err.message);
            _exit(4);
        }
        tell(s, 1, to);
        s->next = to;
    }
    return NULL;
}

static void run_child(int pipe, const int64_t *start, unsigned seed)
{
    pra_storage store;
    pra_error err = {0};
    struct sender senders[THREADS];
    if (pra_store_sqlite_open(NULL, path, NULL, &store, &err) != PRA_OK) {
        fprintf(stderr, "open failed: %s\n", err.message);
        _exit(5);
    }
    /* Checkpoints often in every other round, so that some are hit. */
    if (seed & 1)
        sqlite3_wal_autocheckpoint(((sql_store *)store.self)->writer.db, 10);
    for (uint32_t i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){.store = &store,
                                     .pipe = pipe,
                                     .number = i,
                                     .next = start[i],
                                     .seed = seed * THREADS + i};
        if (pthread_create(&senders[i].thread, NULL, send_for_ever, &senders[i]) != 0)
            _exit(6);
    }
    for (;;)
        pause();
}

/* ---- the parent */

/* Reads notes until the end of the pipe, or for at most wait_ms if that is not negative. */
static void listen_to(int pipe, int wait_ms, struct progress *p)
{
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (;;) {
        struct note note;
        struct pollfd poller = {.fd = pipe, .events = POLLIN};
        clock_gettime(CLOCK_MONOTONIC, &now);
        int left = wait_ms - (int)((now.tv_sec - begun.tv_sec) * 1000 +
                                   (now.tv_nsec - begun.tv_nsec) / 1000000);
        if (wait_ms >= 0 && (left <= 0 || poll(&poller, 1, left) == 0))
            return;
        ssize_t got = read(pipe, &note, sizeof note);
        if (got == 0)
            return;
        check(got == (ssize_t)sizeof note && note.thread < THREADS, "a broken note");
        int64_t *slot = note.acknowledged ? p->acknowledged : p->sent;
        slot[note.thread] = note.to;
    }
}

static void run_and_kill(const int64_t *start, unsigned seed, struct progress *p)
{
    int ends[2], status;
    check(pipe(ends) == 0, "no pipe");
    pid_t child = fork();
    check(child >= 0, "cannot fork");
    if (child == 0) {
        close(ends[0]);
        run_child(ends[1], start, seed);
    }
    close(ends[1]);
    for (int i = 0; i < THREADS; i++)
        p->sent[i] = p->acknowledged[i] = start[i];
    listen_to(ends[0], (int)(rand_r(&seed) % MAX_DELAY_MS), p);
    kill(child, SIGKILL);
    listen_to(ends[0], -1, p);
    close(ends[0]);
    check(waitpid(child, &status, 0) == child, "cannot wait");
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child ended by itself");
}

static int64_t number_of(pra_str s)
{
    char text[24] = {0};
    memcpy(text, s.ptr, s.len < sizeof text - 1 ? s.len : sizeof text - 1);
    return strtoll(text, NULL, 10);
}

/* Marks the samples of one thread's answer; returns the number of samples. */
static int64_t mark(const pra_columns *c, uint32_t thread, unsigned char *seen, int64_t limit)
{
    for (size_t i = 0; i < c->series_count; i++) {
        const pra_label_span *label = &c->labels[c->label_offsets[i]];
        int64_t block = number_of(pra__store_span(c->base, label->value));
        for (uint32_t k = c->sample_offsets[i]; k < c->sample_offsets[i + 1]; k++) {
            int64_t n = c->timestamps_ms[k];
            check(n >= 0 && n < limit, "a sample that was never sent");
            check(!seen[n], "a sample twice");
            check(n / PER_SERIES == block, "a sample in another series");
            check(c->values[k] == (double)(n * THREADS + thread), "another value");
            seen[n] = 1;
        }
    }
    return (int64_t)c->sample_count;
}

/* Reads all samples of a thread; they must be numbers 0..result-1, below limit. */
static int64_t stored_of(const pra_storage *store, uint32_t thread, int64_t limit)
{
    char name[8];
    pra_read_request *request = NULL;
    pra_series_sink *sink = NULL;
    pra_read_response *response = NULL;
    pra_buffer *out = NULL;
    pra_columns c = {.size = sizeof c};
    snprintf(name, sizeof name, "%u", thread);
    unsigned char *seen = calloc((size_t)limit + 1, 1);
    check(seen && pra_read_request_new(NULL, &request) == 0 && pra_buffer_new(NULL, &out) == 0 &&
              pra_read_response_new(NULL, &response) == 0 &&
              pra_series_sink_new(NULL, INT64_MIN, INT64_MAX, NULL, &sink) == 0,
          "out of memory");
    check(pra_read_request_add_query(request, INT64_MIN, INT64_MAX) == 0 &&
              pra_read_request_add_matcher(request, PRA_MATCH_EQUAL, (pra_str){"thread", 6},
                                           (pra_str){name, strlen(name)}) == 0 &&
              pra_read_request_compile(request, NULL, NULL) == 0,
          "cannot build a query");
    check(store->vtbl->process_query(store->self, NULL, pra_read_request_query(request, 0), sink,
                                     NULL) == 0,
          "the query failed");
    check(pra_read_response_encode((const pra_series_sink *const *)&sink, 1, out, NULL) == 0 &&
              pra_read_response_decode(response, pra_buffer_data(out), pra_buffer_len(out), NULL,
                                       NULL) == 0 &&
              pra_read_response_columns(response, &c) == 0,
          "cannot decode the answer");
    int64_t count = mark(&c, thread, seen, limit);
    for (int64_t n = 0; n < count; n++)
        check(seen[n], "a gap");
    pra_series_sink_free(sink);
    pra_read_response_free(response);
    pra_buffer_free(out);
    pra_read_request_free(request);
    free(seen);
    return count;
}

static void check_file(int64_t samples)
{
    static const char sql[] =
        "SELECT (SELECT group_concat(integrity_check) FROM pragma_integrity_check) = 'ok' AND "
        "(SELECT count(*) FROM samples) = ?1 AND "
        "(SELECT count(*) FROM label_index) = 2 * (SELECT count(*) FROM series) AND "
        "NOT EXISTS (SELECT 1 FROM samples LEFT JOIN series ON id = series_id WHERE id IS NULL) "
        "AND NOT EXISTS (SELECT 1 FROM series GROUP BY tenant_id, labels HAVING count(*) > 1)";
    sqlite3 *db;
    sqlite3_stmt *stmt = NULL;
    check(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK,
          "cannot look into the file");
    sqlite3_bind_int64(stmt, 1, samples);
    check(sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int(stmt, 0) == 1,
          "the file is not as it should be");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

/* Opens what the killed child left. Sets start to what is stored. */
static void verify(const struct progress *p, int64_t *start)
{
    pra_storage store;
    pra_error err = {0};
    int64_t all = 0;
    check(pra_store_sqlite_open(NULL, path, NULL, &store, &err) == PRA_OK, err.message);
    for (uint32_t i = 0; i < THREADS; i++) {
        int64_t stored = stored_of(&store, i, p->sent[i]);
        check(stored >= p->acknowledged[i], "an acknowledged sample is lost");
        check(stored == p->acknowledged[i] || stored == p->sent[i], "half a request is stored");
        start[i] = stored;
        all += stored;
    }
    check_file(all);
    store.vtbl->destroy(store.self);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 30;
    unsigned seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : (unsigned)time(NULL);
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pra-crash-XXXXXX",
             tmp && strlen(tmp) < sizeof folder - 20 ? tmp : "/tmp");
    if (rounds <= 0 || !mkdtemp(folder)) {
        fprintf(stderr, "usage: crash_sqlite [ROUNDS [SEED]]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/store.db", folder);
    printf("%d rounds, seed %u\n", rounds, seed);
    int64_t start[THREADS] = {0}, acknowledged = 0, kept = 0;
    for (int round = 0; round < rounds; round++) {
        struct progress p;
        int64_t before[THREADS];
        memcpy(before, start, sizeof before);
        run_and_kill(before, seed + (unsigned)round, &p);
        verify(&p, start);
        for (int i = 0; i < THREADS; i++) {
            acknowledged += p.acknowledged[i] - before[i];
            kept += start[i] - p.acknowledged[i];
        }
    }
    printf("%lld samples acknowledged, none lost; %lld stored though the kill came before the "
           "answer\n",
           (long long)acknowledged, (long long)kept);
    static const char *const endings[] = {"", "-wal", "-shm", "-lock"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[112];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    rmdir(folder);
    return acknowledged > 0 ? 0 : 1;
}
