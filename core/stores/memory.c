/* SPDX-License-Identifier: Apache-2.0 */
/* The storage "memory:": trait entries, samples, retention. */
#include <string.h>

#include "memory_store.h"

enum { SWEEP_SERIES = 256 }; /* series per retention step */

size_t pra__mem_sample_at(const mem_series *series, int64_t timestamp_ms)
{
    size_t low = 0, high = series->sample_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (series->timestamps_ms[mid] < timestamp_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* ---- the trait */

static int mem_write(void *self, const pra_context *ctx, const pra_write_request *request,
                     pra_write_result *result, pra_error *err)
{
    mem_store *store = self;
    pra_columns cols = {.size = sizeof cols};
    int code = pra_write_request_columns(request, &cols);
    if (code != PRA_OK)
        return pra_error_set_cstr(err, code, pra_strerror(code));
    if (cols.sample_count == 0)
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

static int mem_process_query(void *self, const pra_context *ctx, const pra_query *query,
                             pra_series_sink *sink, pra_error *err)
{
    mem_store *store = self;
    pthread_rwlock_rdlock(&store->lock);
    const mem_tenant *tenant = pra__mem_tenant(store, pra__store_tenant(ctx));
    int code = tenant ? pra__mem_query(tenant, query, sink, err) : PRA_OK;
    pthread_rwlock_unlock(&store->lock);
    return code;
}

/* ---- retention */

static void expire(mem_store *store, mem_tenant *tenant, mem_series *series, int64_t cutoff_ms)
{
    size_t gone = pra__mem_sample_at(series, cutoff_ms);
    atomic_fetch_add(&store->expired, gone);
    if (gone == series->sample_count) {
        pra__mem_series_remove(store, tenant, series);
        return;
    }
    if (gone == 0)
        return;
    series->sample_count -= gone;
    atomic_fetch_sub(&store->sample_count, gone);
    memmove(series->timestamps_ms, series->timestamps_ms + gone,
            series->sample_count * sizeof *series->timestamps_ms);
    memmove(series->values, series->values + gone, series->sample_count * sizeof *series->values);
}

int pra__mem_retention_step(mem_store *store, int64_t cutoff_ms, size_t max_series)
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
        expire(store, tenant, series, cutoff_ms);
        max_series--;
    }
    store->sweep_tenant = tenant;
    pthread_rwlock_unlock(&store->lock);
    return tenant == NULL;
}

static uint64_t retention_tick(void *self)
{
    mem_store *store = self;
    int64_t now = pra__store_now_ms();
    if (store->opts.retention_ms > (uint64_t)now)
        return pra__retention_interval_ms(store->opts.retention_ms);
    int64_t cutoff = now - (int64_t)store->opts.retention_ms;
    int through = pra__mem_retention_step(store, cutoff, SWEEP_SERIES);
    return through ? pra__retention_interval_ms(store->opts.retention_ms) : 5;
}

/* ---- metrics, life */

static int mem_metrics(void *self, pra_buffer *out)
{
    mem_store *store = self;
    const struct {
        const char *name, *type, *help;
        atomic_uint_least64_t *value;
    } rows[] = {
        {"pra_store_memory_series", "gauge", "Series in memory.", &store->series_count},
        {"pra_store_memory_samples", "gauge", "Samples in memory.", &store->sample_count},
        {"pra_store_memory_samples_inserted_total", "counter", "Samples stored.", &store->inserted},
        {"pra_store_memory_duplicate_samples_total", "counter",
         "Samples received again with the same value.", &store->duplicates},
        {"pra_store_memory_refused_samples_total", "counter",
         "Samples refused because another value is stored for their time.", &store->refused},
        {"pra_store_memory_expired_samples_total", "counter", "Samples deleted by the retention.",
         &store->expired},
    };
    int code = PRA_OK;
    for (size_t i = 0; code == PRA_OK && i < sizeof rows / sizeof *rows; i++)
        code = pra__store_metric(out, rows[i].name, rows[i].type, rows[i].help,
                                 (double)atomic_load(rows[i].value));
    return code;
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
    .flags = PRA_STORAGE_PARALLEL_QUERIES,
    .write = mem_write,
    .process_query = mem_process_query,
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
    store->alloc = *alloc;
    store->opts = known;
    if (init_lock(&store->lock) != 0) {
        pra__free(alloc, store, sizeof *store);
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    }
    if (known.retention_ms && pra__ticker_start(&store->retention, retention_tick, store) != 0) {
        mem_destroy(store);
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "cannot start the retention thread");
    }
    *out = (pra_storage){&mem_vtbl, store};
    return PRA_OK;
}
