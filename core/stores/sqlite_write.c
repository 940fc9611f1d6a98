/* SPDX-License-Identifier: Apache-2.0 */
/* Writing to the SQLite store: group commit.
 *
 * A request that finds the writer connection free becomes the leader: it takes the waiting
 * requests, its own among them, writes them in one transaction and wakes their threads once the
 * commit is on disk. Requests that come meanwhile wait and make up the next transaction. */
#include <string.h>

#include "sqlite_store.h"

enum {
    BATCH_SAMPLES = 100000,             /* a transaction takes in requests until it has these */
    MAX_LABELS_BYTES = 64 * 1024 * 1024 /* as text; SQLite's own limit is 1e9 */
};

/* The samples refused in one series, to be reported when the commit is done. */
typedef struct refusal {
    size_t series;
    pra__conflicts conflicts;
    bool too_large; /* all of them, because of the labels */
} refusal;

struct sql_job {
    pra_columns cols;
    pra_str tenant;
    refusal *refusals;
    size_t refusal_count;
    size_t refusal_cap;
    pra_error error;
    int code;
    bool done;
    sql_job *next;
};

/* What a transaction did, added to the statistics once it is committed. */
typedef struct batch_counts {
    uint64_t requests;
    uint64_t inserted;
    uint64_t duplicates;
    uint64_t refused;
    int64_t series;
} batch_counts;

int pra__sql_grade(int code, pra_error *err)
{
    if (code != PRA_ERR_NOMEM && code != PRA_ERR_IO)
        return code;
    if (err) {
        err->code = PRA_ERR_RETRY;
        err->http_status = pra_http_status(PRA_ERR_RETRY);
    }
    return PRA_ERR_RETRY;
}

static int nomem(pra_error *err)
{
    return pra_error_set_cstr(err, PRA_ERR_NOMEM, "the store is out of memory");
}

/* ---- series */

static int writer_error(sql_store *store, pra_error *err)
{
    return pra__sql_error(&store->writer, sqlite3_extended_errcode(store->writer.db), err);
}

static int tenant_id(sql_store *store, pra_str name, int64_t *id, pra_error *err)
{
    const int statements[] = {SQL_TENANT_FIND, SQL_TENANT_ADD};
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *stmt = pra__sql_stmt(&store->writer, statements[i]);
        if (!stmt)
            return writer_error(store, err);
        pra__sql_bind_str(stmt, 1, name);
        int rc = pra__sql_once(stmt, id);
        if (rc == SQLITE_ROW)
            return PRA_OK;
        if (rc != SQLITE_DONE)
            return writer_error(store, err);
    }
    *id = sqlite3_last_insert_rowid(store->writer.db);
    return PRA_OK;
}

static int add_labels(sql_store *store, int64_t tenant, const char *base,
                      const pra_label_span *labels, size_t count, int64_t id, pra_error *err)
{
    for (size_t i = 0; i < count; i++) {
        sqlite3_stmt *stmt = pra__sql_stmt(&store->writer, SQL_LABEL_ADD);
        if (!stmt)
            return writer_error(store, err);
        sqlite3_bind_int64(stmt, 1, tenant);
        pra__sql_bind_str(stmt, 2, pra__store_span(base, labels[i].name));
        pra__sql_bind_str(stmt, 3, pra__store_span(base, labels[i].value));
        sqlite3_bind_int64(stmt, 4, id);
        if (pra__sql_once(stmt, NULL) != SQLITE_DONE)
            return writer_error(store, err);
    }
    return PRA_OK;
}

/* Leaves *id 0 if the series is not there. */
static int find_or_add_series(sql_store *store, int which, int64_t tenant, uint64_t fingerprint,
                              pra_str text, int64_t *id, pra_error *err)
{
    sqlite3_stmt *stmt = pra__sql_stmt(&store->writer, which);
    if (!stmt)
        return writer_error(store, err);
    sqlite3_bind_int64(stmt, 1, tenant);
    sqlite3_bind_int64(stmt, 2, (int64_t)fingerprint);
    pra__sql_bind_str(stmt, 3, text);
    int rc = pra__sql_once(stmt, id);
    if (rc == SQLITE_DONE)
        *id = which == SQL_SERIES_ADD ? sqlite3_last_insert_rowid(store->writer.db) : 0;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? PRA_OK : writer_error(store, err);
}

/* PRA_ERR_REJECT: the labels are too large. */
static int series_id(sql_store *store, int64_t tenant, const pra_columns *cols, size_t series,
                     batch_counts *counts, int64_t *id, pra_error *err)
{
    const pra_label_span *labels = cols->labels + cols->label_offsets[series];
    size_t count = cols->label_offsets[series + 1] - cols->label_offsets[series];
    pra_buffer_reset(store->text);
    if (pra__sql_labels_format(cols->base, labels, count, store->text) != PRA_OK)
        return nomem(err);
    pra_str text = {pra_buffer_data(store->text), pra_buffer_len(store->text)};
    if (text.len > MAX_LABELS_BYTES)
        return PRA_ERR_REJECT;
    uint64_t fingerprint = pra_labels_fingerprint(cols->base, labels, count);
    *id = pra__sql_cache_find(&store->cache, tenant, fingerprint, text);
    if (*id)
        return PRA_OK;
    int code = find_or_add_series(store, SQL_SERIES_FIND, tenant, fingerprint, text, id, err);
    if (code == PRA_OK && !*id) {
        code = find_or_add_series(store, SQL_SERIES_ADD, tenant, fingerprint, text, id, err);
        if (code == PRA_OK)
            code = add_labels(store, tenant, cols->base, labels, count, *id, err);
        counts->series++;
    }
    if (code == PRA_OK)
        pra__sql_cache_put(&store->cache, tenant, fingerprint, text, *id);
    return code;
}

/* ---- samples */

static int check_duplicate(sql_store *store, int64_t id, int64_t timestamp_ms, const double *value,
                           batch_counts *counts, pra__conflicts *conflicts, pra_error *err)
{
    sqlite3_stmt *stmt = pra__sql_stmt(&store->writer, SQL_SAMPLE_GET);
    if (!stmt)
        return writer_error(store, err);
    sqlite3_bind_int64(stmt, 1, id);
    sqlite3_bind_int64(stmt, 2, timestamp_ms);
    uint64_t stored = 0, received = pra__double_bits(value);
    if (sqlite3_step(stmt) != SQLITE_ROW)
        return writer_error(store, err);
    int code = pra__sql_column_bits(stmt, 0, &stored);
    sqlite3_reset(stmt);
    if (code != PRA_OK)
        return pra_error_set_cstr(err, code, "the store's file holds a value that is no number");
    if (stored == received) {
        counts->duplicates++;
    } else {
        counts->refused++;
        pra__conflicts_add(conflicts, timestamp_ms, stored, received);
    }
    return PRA_OK;
}

static int add_sample(sql_store *store, int64_t id, int64_t timestamp_ms, const double *value,
                      batch_counts *counts, pra__conflicts *conflicts, pra_error *err)
{
    sqlite3_stmt *stmt = pra__sql_stmt(&store->writer, SQL_SAMPLE_ADD);
    if (!stmt)
        return writer_error(store, err);
    sqlite3_bind_int64(stmt, 1, id);
    sqlite3_bind_int64(stmt, 2, timestamp_ms);
    pra__sql_bind_value(stmt, 3, value);
    if (pra__sql_once(stmt, NULL) != SQLITE_DONE)
        return writer_error(store, err);
    if (sqlite3_changes(store->writer.db) == 0)
        return check_duplicate(store, id, timestamp_ms, value, counts, conflicts, err);
    counts->inserted++;
    return PRA_OK;
}

static int write_series(sql_store *store, sql_job *job, int64_t tenant, size_t series,
                        batch_counts *counts, pra_error *err)
{
    const pra_columns *cols = &job->cols;
    uint32_t first = cols->sample_offsets[series], last = cols->sample_offsets[series + 1];
    if (first == last)
        return PRA_OK;
    int64_t id = 0;
    pra__conflicts conflicts = {0};
    int code = series_id(store, tenant, cols, series, counts, &id, err);
    for (uint32_t k = first; code == PRA_OK && k < last; k++)
        code = add_sample(store, id, cols->timestamps_ms[k], &cols->values[k], counts, &conflicts,
                          err);
    bool too_large = code == PRA_ERR_REJECT;
    if (too_large)
        conflicts.count = last - first;
    else if (code != PRA_OK || !conflicts.count)
        return code;
    if (pra__store_grow(&store->alloc, (void **)&job->refusals, &job->refusal_cap,
                        job->refusal_count + 1, sizeof *job->refusals) != 0)
        return nomem(err);
    job->refusals[job->refusal_count++] = (refusal){series, conflicts, too_large};
    return PRA_OK;
}

static int write_job(sql_store *store, sql_job *job, batch_counts *counts, pra_error *err)
{
    int64_t tenant = 0;
    int code = tenant_id(store, job->tenant, &tenant, err);
    for (size_t i = 0; code == PRA_OK && i < job->cols.series_count; i++)
        code = write_series(store, job, tenant, i, counts, err);
    counts->requests++;
    return code;
}

/* ---- transactions */

void pra__sql_writer_rollback(sql_store *store)
{
    pra__sql_rollback(&store->writer);   /* if this fails, the next begin does it */
    pra__sql_cache_clear(&store->cache); /* it may hold ids that were just taken back */
}

static int result_of(sql_store *store, int rc, pra_error *err)
{
    return rc == SQLITE_OK ? PRA_OK : pra__sql_error(&store->writer, rc, err);
}

static void count_batch(sql_store *store, const batch_counts *counts, uint64_t begun,
                        uint64_t written)
{
    uint64_t done = pra__store_ticks();
    sql_stats *s = &store->stats;
    atomic_fetch_add(&s->commits, 1);
    atomic_fetch_add(&s->commit_requests, counts->requests);
    atomic_fetch_add(&s->inserted, counts->inserted);
    atomic_fetch_add(&s->duplicates, counts->duplicates);
    atomic_fetch_add(&s->refused, counts->refused);
    atomic_fetch_add(&s->series, counts->series);
    atomic_fetch_add(&s->write_ns, done - begun);
    atomic_fetch_add(&s->commit_ns, done - written);
}

static void log_outcome(sql_store *store, int code, const pra_error *err)
{
    if (code != PRA_OK && !store->failing)
        pra__store_log(&store->opts, 3, "%s: a commit failed, senders will retry: %s", store->path,
                       err->message);
    if (code == PRA_OK && store->failing)
        pra__store_log(&store->opts, 1, "%s: commits succeed again", store->path);
    store->failing = code != PRA_OK;
}

/* All jobs or none. */
static int commit_batch(sql_store *store, sql_job *batch, pra_error *err)
{
    batch_counts counts = {0};
    uint64_t begun = pra__store_ticks();
    int code = result_of(store, pra__sql_begin(&store->writer, SQL_BEGIN_WRITE), err);
    for (sql_job *job = batch; code == PRA_OK && job; job = job->next)
        code = write_job(store, job, &counts, err);
    uint64_t written = pra__store_ticks();
    if (code == PRA_OK)
        code = result_of(store, pra__sql_run(&store->writer, SQL_COMMIT), err);
    if (code == PRA_OK) {
        count_batch(store, &counts, begun, written);
    } else {
        pra__sql_writer_rollback(store);
        atomic_fetch_add(&store->stats.failed_commits, 1);
    }
    log_outcome(store, code, err);
    return code;
}

/* ---- the queue; the store's lock is held */

static sql_job *take_batch(sql_store *store)
{
    sql_job *first = store->queue, **end = &store->queue;
    size_t samples = 0;
    while (*end && samples < BATCH_SAMPLES) {
        samples += (*end)->cols.sample_count;
        end = &(*end)->next;
    }
    store->queue = *end;
    if (!store->queue)
        store->queue_end = &store->queue;
    *end = NULL;
    return first;
}

static void lead(sql_store *store)
{
    sql_job *batch = take_batch(store);
    store->writer_taken = true;
    pthread_mutex_unlock(&store->lock);
    pra_error error = {0};
    int code = commit_batch(store, batch, &error);
    pthread_mutex_lock(&store->lock);
    for (sql_job *job = batch, *next; job; job = next) {
        next = job->next; /* once done, a job belongs to its thread */
        job->code = code;
        job->error = error;
        job->done = true;
    }
    store->writer_taken = false;
    pthread_cond_broadcast(&store->wake);
}

static void run_job(sql_store *store, sql_job *job)
{
    pthread_mutex_lock(&store->lock);
    *store->queue_end = job;
    store->queue_end = &job->next;
    while (!job->done) {
        if (store->writer_taken || store->retention_waits)
            pthread_cond_wait(&store->wake, &store->lock);
        else
            lead(store);
    }
    pthread_mutex_unlock(&store->lock);
}

void pra__sql_writer_take(sql_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->retention_waits++;
    while (store->writer_taken)
        pthread_cond_wait(&store->wake, &store->lock);
    store->retention_waits--;
    store->writer_taken = true;
    pthread_mutex_unlock(&store->lock);
}

void pra__sql_writer_release(sql_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->writer_taken = false;
    pthread_cond_broadcast(&store->wake);
    pthread_mutex_unlock(&store->lock);
}

/* ---- the trait's entry */

static void report(sql_store *store, const sql_job *job, pra_write_result *result)
{
    static const char too_large[] = "the labels of the series are larger than the store can hold";
    sql_stats *s = &store->stats;
    for (size_t i = 0; i < job->refusal_count; i++) {
        const refusal *r = &job->refusals[i];
        if (r->too_large)
            pra_write_result_reject(result, PRA_DATUM_SAMPLE, r->series, r->conflicts.count,
                                    (pra_str){too_large, sizeof too_large - 1});
        else
            pra__conflicts_report(&r->conflicts, result, r->series);
    }
    atomic_fetch_add(&s->ignored_exemplars, job->cols.exemplar_count);
    atomic_fetch_add(&s->ignored_metadata, job->cols.metadata_count);
}

int pra__sql_write(void *self, const pra_context *ctx, const pra_write_request *request,
                   pra_write_result *result, pra_error *err)
{
    sql_store *store = self;
    sql_job job = {.cols.size = sizeof job.cols, .tenant = pra__store_tenant(ctx)};
    int code = pra_write_request_columns(request, &job.cols);
    if (code != PRA_OK)
        return pra_error_set_cstr(err, code, pra_strerror(code));
    if (job.cols.sample_count)
        run_job(store, &job);
    if (job.code == PRA_OK)
        report(store, &job, result);
    else if (err)
        *err = job.error;
    pra__free(&store->alloc, job.refusals, job.refusal_cap * sizeof *job.refusals);
    return pra__sql_grade(job.code, err);
}
