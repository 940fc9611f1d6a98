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

#include "numbered.h"

enum { MAX_PER_REQUEST = 50, MAX_DELAY_MS = 120 };

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
    if (pra_store_sqlite_open(NULL, path, &keep_all, &store, &err) != PRA_OK) {
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

static void take(const struct note *note, struct progress *p)
{
    check(note->thread < THREADS, "a broken note");
    int64_t *slot = note->acknowledged ? p->acknowledged : p->sent;
    slot[note->thread] = note->to;
}

/* Waits until something is acknowledged, however slow the machine is. */
static void await_first(int pipe, struct progress *p)
{
    struct note note = {0};
    while (!note.acknowledged && read(pipe, &note, sizeof note) == (ssize_t)sizeof note)
        take(&note, p);
}

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
        check(got == (ssize_t)sizeof note, "a broken note");
        take(&note, p);
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
    if (seed % 3) /* in the other rounds it may still be opening the store */
        await_first(ends[0], p);
    listen_to(ends[0], (int)(rand_r(&seed) % MAX_DELAY_MS), p);
    kill(child, SIGKILL);
    listen_to(ends[0], -1, p);
    close(ends[0]);
    check(waitpid(child, &status, 0) == child, "cannot wait");
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child ended by itself");
}

/* Opens what the killed child left. Sets start to what is stored. */
static void verify(const struct progress *p, int64_t *start)
{
    pra_storage store;
    pra_error err = {0};
    int64_t all = 0;
    check(pra_store_sqlite_open(NULL, path, &keep_all, &store, &err) == PRA_OK, err.message);
    for (uint32_t i = 0; i < THREADS; i++) {
        int64_t stored = stored_of(&store, i, p->sent[i]);
        check(stored >= p->acknowledged[i], "something acknowledged is lost");
        check(stored == p->acknowledged[i] || stored == p->sent[i], "half a request is stored");
        start[i] = stored;
        all += stored;
    }
    check_file(path, all);
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
    printf("%lld acknowledged, none lost; %lld stored though the kill came before the "
           "answer\n",
           (long long)acknowledged, (long long)kept);
    remove_store(path);
    rmdir(folder);
    return acknowledged > 0 ? 0 : 1;
}
