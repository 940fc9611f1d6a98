/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads that write to a store under test. */
#ifndef TESTS_STORE_THREADS_H
#define TESTS_STORE_THREADS_H

#include <pthread.h>

#include "store_fixture.h"

enum { WRITERS = 8, REQUESTS = 40, SAMPLES = 20, POINTS = SAMPLES + 1 };

struct worker {
    pthread_t thread;
    const pra_storage *store;
    pthread_barrier_t *start;
    int number;
    int stored;   /* requests acknowledged */
    int failures; /* anything but "stored" and "try again" */
};

static void *write_many(void *arg)
{
    struct worker *w = arg;
    struct fixture f = {.store = *w->store};
    if (pra_write_request_new(NULL, &f.request) != PRA_OK)
        return NULL;
    pthread_barrier_wait(w->start);
    for (int r = 0; r < REQUESTS; r++) {
        char number[16];
        snprintf(number, sizeof number, "%d", w->number);
        pra_label labels[] = {{STR("__name__"), STR("t")}, {STR("w"), cstr(number)}};
        int64_t times[SAMPLES];
        double values[SAMPLES];
        for (int i = 0; i < SAMPLES; i++) {
            times[i] = 2 * (r * SAMPLES + i);
            values[i] = w->number;
        }
        pra_write_request_reset(f.request);
        w->failures += pra_write_request_add_series(f.request, labels, 2) != PRA_OK;
        w->failures +=
            pra_write_request_add_samples(f.request, times, values, NULL, SAMPLES) != PRA_OK;
        add_histogram(&f, 2 * r + 1, r + 1); /* late */
        add_exemplar(&f, "trace_id=x", r, 1);
        pra__write_result_init(&f.result, f.request);
        int code = f.store.vtbl->write(f.store.self, NULL, f.request, &f.result, NULL);
        w->stored += code == PRA_OK;
        w->failures += code != PRA_OK && code != PRA_ERR_RETRY;
        w->failures += pra__write_result_any(&f.result);
    }
    pra_write_request_free(f.request);
    return NULL;
}

/* Eight threads write while this one reads and calls meanwhile. What is acknowledged is there
 * afterwards, and nothing else. Returns the number of requests acknowledged. */
static int run_writers(struct fixture *f, void (*meanwhile)(struct fixture *f))
{
    struct worker workers[WRITERS];
    pthread_barrier_t start;
    int stored = 0;
    pthread_barrier_init(&start, NULL, WRITERS);
    for (int i = 0; i < WRITERS; i++) {
        workers[i] = (struct worker){.store = &f->store, .start = &start, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, write_many, &workers[i]), 0);
    }
    const char *const all[] = {"__name__=t", NULL};
    for (int i = 0; i < 50; i++) {
        int code = (i % 2 ? query_range : stream_range)(f, INT64_MIN, INT64_MAX, all);
        assert_int_equal(code, PRA_OK);
        assert_int_equal(count_of_char(f->dump, ' ') % POINTS, 0); /* whole requests only */
        meanwhile(f);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failures, 0);
        stored += workers[i].stored;
    }
    pthread_barrier_destroy(&start);
    QUERY(f, "__name__=t");
    assert_int_equal(count_of_char(f->dump, ' '), stored * POINTS);
    return stored;
}

#endif
