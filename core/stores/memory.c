/* SPDX-License-Identifier: Apache-2.0 */
/* The storage "memory:": trait entries, retention. */
#include <stdio.h>
#include <string.h>

#include "memory_store.h"

enum { SWEEP_SERIES = 256 }; /* series per retention step */

/* ---- the trait */

static int mem_write(void *self, const pra_context *ctx, const pra_write_request *request,
                     pra_write_result *result, pra_error *err)
{
    mem_store *store = self;
    pra_columns cols = {.size = sizeof cols};
    int code = pra_write_request_columns(request, &cols);
    if (code != PRA_OK)
        return pra_error_set_cstr(err, code, pra_strerror(code));
    if (!pra__store_any(&cols))
        return PRA_OK;
    pthread_rwlock_wrlock(&store->lock);
    pra_str name = pra__store_tenant(ctx);
    mem_tenant *tenant = pra__mem_tenant(store, name);
    if (!tenant && !(tenant = pra__mem_tenant_add(store, name)))
        code = PRA_ERR_NOMEM;
    if (code == PRA_OK)
        code = pra__mem_write(store, tenant, &cols, result);
    pthread_rwlock_unlock(&store->lock);
    return code == PRA_OK ? PRA_OK : pra__store_nomem(err);
}

static int mem_select(void *self, const pra_context *ctx, const pra_query *query,
                      pra_series_list *list, pra_error *err)
{
    mem_store *store = self;
    pthread_rwlock_rdlock(&store->lock);
    const mem_tenant *tenant = pra__mem_tenant(store, pra__store_tenant(ctx));
    int code = tenant ? pra__mem_select(tenant, query, list, err) : PRA_OK;
    pthread_rwlock_unlock(&store->lock);
    return code;
}

static int mem_fetch(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                     int64_t from_ms, pra_series_sink *sink, pra_error *err)
{
    mem_store *store = self;
    pthread_rwlock_rdlock(&store->lock);
    const mem_tenant *tenant = pra__mem_tenant(store, pra__store_tenant(ctx));
    int code = tenant ? pra__mem_fetch(store, tenant, query, id, from_ms, sink, err) : PRA_OK;
    pthread_rwlock_unlock(&store->lock);
    return code == PRA_ERR_NOMEM ? pra__store_nomem(err) : code;
}

/* ---- retention */

static void expire(mem_store *store, mem_tenant *tenant, mem_series *series, pra__cutoffs cutoffs)
{
    size_t gone = pra__mem_point_at(series, cutoffs.data_ms);
    if (gone)
        pra__mem_drop_points(store, series, gone);
    pra__mem_exemplars_expire(store, series, cutoffs.exemplars_ms);
    if (series->point_count == 0 && series->exemplars.count == 0)
        pra__mem_series_remove(store, tenant, series);
}

int pra__mem_retention_step(mem_store *store, pra__cutoffs cutoffs, size_t max_series)
{
    pthread_rwlock_wrlock(&store->lock);
    mem_tenant *tenant = store->sweep_tenant ? store->sweep_tenant : store->first_tenant;
    while (tenant && max_series) {
        size_t at = pra__mem_posting_at(&tenant->all, store->sweep_id);
        if (at == tenant->all.count) {
            tenant = tenant->next;
            store->sweep_id = 0;
            continue;
        }
        mem_series *series = tenant->all.series[at];
        store->sweep_id = series->id + 1;
        expire(store, tenant, series, cutoffs);
        max_series--;
    }
    store->sweep_tenant = tenant;
    pthread_rwlock_unlock(&store->lock);
    return tenant == NULL;
}

static uint64_t retention_tick(void *self)
{
    mem_store *store = self;
    pra__cutoffs cutoffs = pra__store_cutoffs(&store->opts, pra__store_now_ms());
    int through = pra__mem_retention_step(store, cutoffs, SWEEP_SERIES);
    return through ? pra__retention_interval_ms(&store->opts) : 5;
}

/* ---- metrics, life */

static int kind_metrics(const mem_store *store, int32_t kind, pra_buffer *out)
{
    static const char *const names[MEM_KINDS] = {"samples", "histograms", "exemplars"};
    const mem_stats *s = &store->stats[kind];
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"%s", "gauge", "In memory.", atomic_load(&s->held)},
        {"inserted_%s_total", "counter", "Stored.", atomic_load(&s->inserted)},
        {"duplicate_%s_total", "counter", "Received again with the same value.",
         atomic_load(&s->duplicates)},
        {"refused_%s_total", "counter", "Refused because another value is stored for their time.",
         atomic_load(&s->refused)},
        {"expired_%s_total", "counter", "Deleted by the retention.", atomic_load(&s->expired)},
    };
    int code = PRA_OK;
    for (size_t i = 0; code == PRA_OK && i < sizeof rows / sizeof *rows; i++) {
        char ending[48], name[80];
        snprintf(ending, sizeof ending, rows[i].name, names[kind]);
        snprintf(name, sizeof name, "pra_store_memory_%s", ending);
        code = pra__store_metric(out, name, rows[i].type, rows[i].help, (double)rows[i].value);
    }
    return code;
}

static int mem_metrics(void *self, pra_buffer *out)
{
    mem_store *store = self;
    int code = pra__store_metric(out, "pra_store_memory_series", "gauge", "Series in memory.",
                                 (double)atomic_load(&store->series_count));
    for (int32_t kind = 0; code == PRA_OK && kind < MEM_KINDS; kind++)
        code = kind_metrics(store, kind, out);
    if (code == PRA_OK)
        code = pra__store_metric(out, "pra_store_memory_metadata", "gauge",
                                 "Metric families whose metadata is in memory.",
                                 (double)atomic_load(&store->metadata_count));
    return code == PRA_OK ? pra__store_metric(out, "pra_store_memory_bytes", "gauge",
                                              "Memory that all of it takes.",
                                              (double)atomic_load(&store->bytes))
                          : code;
}

/* The store's allocator: the caller's, counted. */
static void *counted(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    mem_store *store = ctx;
    void *result = store->parent.fn(store->parent.ctx, ptr, old_size, new_size);
    if (result || !new_size)
        atomic_fetch_add(&store->bytes, (uint64_t)new_size - (ptr ? old_size : 0));
    return result;
}

static void mem_destroy(void *self)
{
    mem_store *store = self;
    pra__ticker_stop(&store->retention);
    pthread_rwlock_destroy(&store->lock);
    pra__mem_free(store);
}

static const pra_storage_vtbl mem_vtbl = {
    .size = sizeof mem_vtbl,
    .flags = PRA_STORAGE_PARALLEL_QUERIES | PRA_STORAGE_HISTOGRAMS | PRA_STORAGE_EXEMPLARS,
    .write = mem_write,
    .select = mem_select,
    .fetch = mem_fetch,
    .metrics = mem_metrics,
    .destroy = mem_destroy,
};

/* glibc's default lets a stream of readers keep writers out for ever. */
static int init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
#ifdef __GLIBC__
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    int failed = pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return failed ? PRA_ERR_NOMEM : PRA_OK;
}

int pra_store_memory_new(const pra_alloc *alloc, const pra_store_opts *opts, pra_storage *out,
                         pra_error *err)
{
    if (!out)
        return PRA_ERR_INVALID_ARG;
    if (!alloc)
        alloc = pra_alloc_libc();
    pra_store_opts known;
    int code = pra__store_opts(opts, &known, err);
    if (code != PRA_OK)
        return code;
    mem_store *store = pra__malloc(alloc, sizeof *store);
    if (!store)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    memset(store, 0, sizeof *store);
    store->parent = *alloc;
    store->alloc = (pra_alloc){store, counted};
    store->opts = known;
    if (init_lock(&store->lock) != 0) {
        pra__free(alloc, store, sizeof *store);
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    }
    if (pra_buffer_new(&store->alloc, &store->scratch) != PRA_OK ||
        (pra__store_expires(&known) &&
         pra__ticker_start(&store->retention, retention_tick, store) != PRA_OK)) {
        mem_destroy(store);
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    }
    *out = (pra_storage){&mem_vtbl, store};
    return PRA_OK;
}
