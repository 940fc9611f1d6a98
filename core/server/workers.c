/* SPDX-License-Identifier: Apache-2.0 */
/* The exchanges that run requests. */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int pra__workers_init(pra_server *s)
{
    size_t count = s->opts.workers;
    s->workers = pra__take(s, NULL, 0, count * sizeof(*s->workers));
    if (!s->workers)
        return PRA_ERR_NOMEM;
    memset(s->workers, 0, count * sizeof(*s->workers));
    for (size_t i = count; i-- > 0;) {
        s->workers[i].index = (uint32_t)i;
        s->workers[i].next_free = s->free_workers;
        s->free_workers = &s->workers[i];
    }
    return pra_exchange_new(s->handler, &s->alloc, &s->checker);
}

void pra__workers_fini(pra_server *s)
{
    pra_exchange_free(s->checker);
    if (!s->workers)
        return;
    for (size_t i = 0; i < s->opts.workers; i++)
        pra_exchange_free(s->workers[i].exchange);
    pra__give(s, s->workers, s->opts.workers * sizeof(*s->workers));
}

struct timespec pra__wait_end(const pra_server *s)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += s->opts.worker_wait_ms / 1000;
    until.tv_nsec += (long)(s->opts.worker_wait_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return until;
}

/* The one used last is taken first: its memory is warm. */
static pra__worker *pop(pra_server *s)
{
    struct timespec until = pra__wait_end(s);
    pthread_mutex_lock(&s->workers_lock);
    int rc = 0;
    while (!s->free_workers && !s->cut && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&s->worker_free, &s->workers_lock, &until);
    pra__worker *w = s->cut ? NULL : s->free_workers;
    if (w)
        s->free_workers = w->next_free;
    pthread_mutex_unlock(&s->workers_lock);
    if (w)
        atomic_fetch_add(&s->metrics.workers_busy, 1);
    return w;
}

pra__worker *pra__worker_take(pra_server *s, pra_error *err)
{
    pra__worker *w = pop(s);
    if (!w) {
        (void)pra_error_set_cstr(err, PRA_ERR_BUSY, "all workers are busy: try again later");
        return NULL;
    }
    if (!w->exchange && pra_exchange_new(s->handler, &s->alloc, &w->exchange)) {
        (void)pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory: try again later");
        pra__worker_give(s, w);
        return NULL;
    }
    return w;
}

void pra__worker_give(pra_server *s, pra__worker *w)
{
    atomic_fetch_sub(&s->metrics.workers_busy, 1);
    pthread_mutex_lock(&s->workers_lock);
    w->next_free = s->free_workers;
    s->free_workers = w;
    pthread_cond_signal(&s->worker_free);
    pthread_mutex_unlock(&s->workers_lock);
}
