/* SPDX-License-Identifier: Apache-2.0 */
/* Writing to the SQLite store: group commit.
 *
 * A request that finds the writer connection free becomes the leader: it takes the waiting
 * requests, its own among them, writes them in one transaction and wakes their threads once the
 * commit is on disk. Requests that come meanwhile wait and make up the next transaction. */
#include "sqlite_store.h"

enum { BATCH_DATA = 100000 }; /* a transaction takes in requests until it has these */

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

static void count_batch(sql_store *store, const sql_counts *counts, uint64_t begun,
                        uint64_t written)
{
    uint64_t done = pra__store_ticks();
    sql_stats *s = &store->stats;
    atomic_fetch_add(&s->commits, 1);
    atomic_fetch_add(&s->commit_requests, counts->requests);
    for (int kind = 0; kind < SQL_KINDS; kind++) {
        atomic_fetch_add(&s->inserted[kind], counts->inserted[kind]);
        atomic_fetch_add(&s->duplicates[kind], counts->duplicates[kind]);
        atomic_fetch_add(&s->refused[kind], counts->refused[kind]);
    }
    atomic_fetch_add(&s->exemplars, (int64_t)counts->inserted[PRA_DATUM_EXEMPLAR]);
    atomic_fetch_add(&s->metadata, (int64_t)counts->metadata);
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
    sql_counts counts = {0};
    uint64_t begun = pra__store_ticks();
    int code = result_of(store, pra__sql_begin(&store->writer, SQL_BEGIN_WRITE), err);
    for (sql_job *job = batch; code == PRA_OK && job; job = job->next)
        code = pra__sql_insert(store, job, &counts, err);
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
    size_t data = 0;
    while (*end && data < BATCH_DATA) {
        const pra_columns *cols = &(*end)->cols;
        data += cols->sample_count + cols->histogram_count + cols->exemplar_count;
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

static void report(const sql_job *job, pra_write_result *result)
{
    static const char too_large[] = "larger than the store can hold";
    for (size_t i = 0; i < job->refusal_count; i++) {
        sql_refusal *r = &job->refusals[i];
        if (r->too_large)
            pra_write_result_reject(result, r->kind, r->series, r->too_large,
                                    (pra_str){too_large, sizeof too_large - 1});
        pra__conflicts_report(&r->conflicts, result, r->series);
    }
}

int pra__sql_write(void *self, const pra_context *ctx, const pra_write_request *request,
                   pra_write_result *result, pra_error *err)
{
    sql_store *store = self;
    sql_job job = {.cols.size = sizeof job.cols, .tenant = pra__store_tenant(ctx)};
    int code = pra_write_request_columns(request, &job.cols);
    if (code != PRA_OK)
        return pra_error_set_cstr(err, code, pra_strerror(code));
    if (pra__store_any(&job.cols))
        run_job(store, &job);
    if (job.code == PRA_OK)
        report(&job, result);
    else if (err)
        *err = job.error;
    pra__free(&store->alloc, job.refusals, job.refusal_cap * sizeof *job.refusals);
    return pra__sql_grade(job.code, err);
}
