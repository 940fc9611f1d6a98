/* SPDX-License-Identifier: Apache-2.0 */
/* parallel_for on short-lived threads. */
#include "pra_server.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MOST_THREADS = 8 };

struct job {
    atomic_size_t next;
    size_t count;
    void (*task)(void *arg, size_t index);
    void *arg;
};

static void *take_tasks(void *arg)
{
    struct job *job = arg;
    for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->count;)
        job->task(job->arg, i);
    return NULL;
}

/* The caller works too, so this succeeds even when no thread can be had. */
static int parallel_for(void *ctx, size_t n, void (*task)(void *arg, size_t index), void *arg)
{
    (void)ctx;
    struct job job = {.next = 0, .count = n, .task = task, .arg = arg};
    pthread_t threads[MOST_THREADS - 1];
    size_t started = 0;
    while (started + 1 < n && started < MOST_THREADS - 1 &&
           pthread_create(&threads[started], NULL, take_tasks, &job) == 0)
        started++;
    (void)take_tasks(&job);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    return 0;
}

const pra_executor *pra_server_executor(void)
{
    static const pra_executor executor = {NULL, parallel_for};
    return &executor;
}
