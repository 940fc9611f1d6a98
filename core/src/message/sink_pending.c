/* SPDX-License-Identifier: Apache-2.0 */
#include "message/sink_pending.h"

#include <string.h>

#include "base/alloc.h"
#include "base/sort.h"
#include "message/write_request.h"

void pra__pending_fini(struct pra__pending *p, const pra_alloc *alloc)
{
    pra__free(alloc, p->timestamps_ms, p->cap * sizeof(*p->timestamps_ms));
    pra__free(alloc, p->values, p->cap * sizeof(*p->values));
    pra__free(alloc, p->held, p->held_cap * sizeof(*p->held));
    pra_write_request_free(p->request);
    *p = (struct pra__pending){.count = 0};
}

void pra__pending_clear(struct pra__pending *p)
{
    p->count = 0;
    p->out_of_order = 0;
    if (p->request)
        pra_write_request_reset(p->request);
    p->held_count = 0;
    p->held_out_of_order = 0;
}

size_t pra__pending_memory(const struct pra__pending *p)
{
    return p->cap * PRA__POINT_BYTES + p->held_cap * sizeof(*p->held) +
           (p->request ? pra_write_request_memory(p->request) : 0);
}

/* ---- samples */

int pra__pending_reserve(struct pra__pending *p, const pra_alloc *alloc, size_t extra)
{
    if (extra <= p->cap - p->count)
        return PRA_OK;
    size_t want = p->count + extra;
    size_t cap = p->cap * 2 > want ? p->cap * 2 : want;
    if (cap > SIZE_MAX / 64)
        return PRA_ERR_NOMEM;
    int64_t *timestamps_ms = pra__malloc(alloc, cap * sizeof(*timestamps_ms));
    double *values = pra__malloc(alloc, cap * sizeof(*values));
    if (!timestamps_ms || !values) {
        pra__free(alloc, timestamps_ms, cap * sizeof(*timestamps_ms));
        pra__free(alloc, values, cap * sizeof(*values));
        return PRA_ERR_NOMEM;
    }
    if (p->count) {
        memcpy(timestamps_ms, p->timestamps_ms, p->count * sizeof(*timestamps_ms));
        memcpy(values, p->values, p->count * sizeof(*values));
    }
    pra__free(alloc, p->timestamps_ms, p->cap * sizeof(*timestamps_ms));
    pra__free(alloc, p->values, p->cap * sizeof(*values));
    p->timestamps_ms = timestamps_ms;
    p->values = values;
    p->cap = cap;
    return PRA_OK;
}

void pra__pending_add(struct pra__pending *p, const int64_t *timestamps_ms, const double *values,
                      size_t count)
{
    const size_t n = p->count;
    if (count == 0)
        return;
    p->out_of_order |= n > 0 && timestamps_ms[0] <= p->timestamps_ms[n - 1];
    memcpy(p->timestamps_ms + n, timestamps_ms, count * sizeof(*timestamps_ms));
    memcpy(p->values + n, values, count * sizeof(*values));
    p->count = n + count;
}

struct point {
    int64_t timestamp_ms;
    double value;
    size_t order; /* of arrival */
};

static int compare_points(const void *a, const void *b, const void *arg)
{
    (void)arg;
    const struct point *x = a;
    const struct point *y = b;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static int sort_points(struct pra__pending *p, const pra_alloc *alloc)
{
    size_t count = p->count;
    size_t kept = 0;
    struct point *points = pra__malloc(alloc, count * sizeof(*points));
    if (!points)
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        points[i] = (struct point){.timestamp_ms = p->timestamps_ms[i], .order = i};
        memcpy(&points[i].value, &p->values[i], sizeof(double));
    }
    pra__sort(points, count, sizeof(*points), compare_points, NULL);
    for (size_t i = 0; i < count; i++) {
        if (kept && p->timestamps_ms[kept - 1] == points[i].timestamp_ms)
            kept--;
        p->timestamps_ms[kept] = points[i].timestamp_ms;
        memcpy(&p->values[kept++], &points[i].value, sizeof(double));
    }
    pra__free(alloc, points, count * sizeof(*points));
    p->count = kept;
    return PRA_OK;
}

/* ---- histograms */

static int reserve_held(struct pra__pending *p, const pra_alloc *alloc)
{
    if (p->held_count < p->held_cap)
        return PRA_OK;
    size_t cap = p->held_cap ? p->held_cap * 2 : 16;
    struct pra__held *held =
        pra__realloc(alloc, p->held, p->held_cap * sizeof(*held), cap * sizeof(*held));
    if (!held)
        return PRA_ERR_NOMEM;
    p->held = held;
    p->held_cap = cap;
    return PRA_OK;
}

int pra__pending_hold(struct pra__pending *p, const pra_alloc *alloc, const pra_columns *columns,
                      size_t index, uint64_t max_bytes)
{
    int rc = p->request ? PRA_OK : pra_write_request_new(alloc, &p->request);
    if (rc == PRA_OK && p->held_count == 0) {
        rc = pra_write_request_add_series(p->request, NULL, 0);
        p->request->cols.budget = max_bytes < SIZE_MAX ? (size_t)max_bytes : SIZE_MAX;
    }
    if (rc == PRA_OK)
        rc = reserve_held(p, alloc);
    if (rc == PRA_OK)
        rc = pra_write_request_add_histogram(p->request, columns, index);
    if (rc) {
        if (p->held_count == 0 && p->request)
            pra_write_request_reset(p->request);
        return rc;
    }
    const int64_t t = columns->histograms[index].timestamp_ms;
    const size_t n = p->held_count++;
    p->held_out_of_order |= n > 0 && t <= p->held[n - 1].timestamp_ms;
    p->held[n] = (struct pra__held){t, n};
    return PRA_OK;
}

static int compare_held(const void *a, const void *b, const void *arg)
{
    (void)arg;
    const struct pra__held *x = a;
    const struct pra__held *y = b;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static void sort_held(struct pra__pending *p)
{
    size_t kept = 0;
    pra__sort(p->held, p->held_count, sizeof(*p->held), compare_held, NULL);
    for (size_t i = 0; i < p->held_count; i++) {
        if (kept && p->held[kept - 1].timestamp_ms == p->held[i].timestamp_ms)
            kept--;
        p->held[kept++] = p->held[i];
    }
    p->held_count = kept;
}

/* Lets go of histograms at the time of a sample; both are sorted. */
static void prefer_samples(struct pra__pending *p)
{
    size_t kept = 0;
    size_t at = 0;
    for (size_t i = 0; i < p->held_count; i++) {
        const int64_t t = p->held[i].timestamp_ms;
        while (at < p->count && p->timestamps_ms[at] < t)
            at++;
        if (at == p->count || p->timestamps_ms[at] != t)
            p->held[kept++] = p->held[i];
    }
    p->held_count = kept;
}

int pra__pending_settle(struct pra__pending *p, const pra_alloc *alloc)
{
    if (p->out_of_order && sort_points(p, alloc))
        return PRA_ERR_NOMEM;
    if (p->held_out_of_order)
        sort_held(p);
    prefer_samples(p);
    return PRA_OK;
}

void pra__pending_columns(const struct pra__pending *p, pra_columns *out)
{
    (void)pra_write_request_columns(p->request, out);
}
