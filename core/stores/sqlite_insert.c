/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a write request, within a transaction of sqlite_write.c. */
#include <string.h>

#include "sqlite_store.h"

typedef struct insertion {
    sql_store *store;
    sql_job *job;
    sql_counts *counts;
    pra_error *err;
    int64_t tenant;
    uint64_t fingerprint;                /* of the series at hand */
    pra__conflicts conflicts[SQL_KINDS]; /* in it */
    size_t too_large[SQL_KINDS];
} insertion;

static int nomem(pra_error *err)
{
    return pra_error_set_cstr(err, PRA_ERR_NOMEM, "the store is out of memory");
}

static pra_str buffered(const pra_buffer *buf)
{
    return (pra_str){pra_buffer_data(buf), pra_buffer_len(buf)};
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

/* Leaves out->id 0 if the series is not there. */
static int find_or_add_series(sql_store *store, int which, int64_t tenant, uint64_t fingerprint,
                              pra_str text, sql_series *out, pra_error *err)
{
    sqlite3_stmt *stmt = pra__sql_stmt(&store->writer, which);
    if (!stmt)
        return writer_error(store, err);
    sqlite3_bind_int64(stmt, 1, tenant);
    sqlite3_bind_int64(stmt, 2, (int64_t)fingerprint);
    pra__sql_bind_str(stmt, 3, text);
    if (which == SQL_SERIES_ADD)
        sqlite3_bind_int64(stmt, 4, ++store->last_series);
    *out = (sql_series){0};
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = (sql_series){sqlite3_column_int64(stmt, 0), sqlite3_column_int(stmt, 1) != 0};
    else if (rc == SQLITE_DONE && which == SQL_SERIES_ADD)
        out->id = store->last_series;
    int code = rc == SQLITE_ROW || rc == SQLITE_DONE ? PRA_OK : writer_error(store, err);
    sqlite3_reset(stmt);
    return code;
}

/* PRA_ERR_REJECT: the labels are too large. store->text is what the series is known by. */
static int find_series(insertion *in, size_t series, sql_series *out)
{
    sql_store *store = in->store;
    const pra_columns *cols = &in->job->cols;
    const pra_label_span *labels = cols->labels + cols->label_offsets[series];
    size_t count = cols->label_offsets[series + 1] - cols->label_offsets[series];
    pra_buffer_reset(store->text);
    if (pra__sql_labels_format(cols->base, labels, count, store->text) != PRA_OK)
        return nomem(in->err);
    pra_str text = buffered(store->text);
    if (text.len > MAX_TEXT_BYTES)
        return PRA_ERR_REJECT;
    in->fingerprint = pra_labels_fingerprint(cols->base, labels, count);
    if (pra__sql_cache_find(&store->cache, in->tenant, in->fingerprint, text, out))
        return PRA_OK;
    int code =
        find_or_add_series(store, SQL_SERIES_FIND, in->tenant, in->fingerprint, text, out, in->err);
    if (code == PRA_OK && !out->id) {
        code = find_or_add_series(store, SQL_SERIES_ADD, in->tenant, in->fingerprint, text, out,
                                  in->err);
        if (code == PRA_OK)
            code = add_labels(store, in->tenant, cols->base, labels, count, out->id, in->err);
        in->counts->series++;
    }
    if (code == PRA_OK)
        pra__sql_cache_put(&store->cache, in->tenant, in->fingerprint, text, *out);
    return code;
}

/* ---- samples and histograms */

static pra__datum sample_datum(const double *value)
{
    return (pra__datum){.bits = pra__double_bits(value)};
}

/* Counts a datum for whose time there is something. */
static void judge(insertion *in, int32_t kind, int64_t timestamp_ms, bool same, pra__datum stored,
                  pra__datum received)
{
    if (same) {
        in->counts->duplicates[kind]++;
        return;
    }
    in->counts->refused[kind]++;
    pra__conflicts_add(&in->conflicts[kind], timestamp_ms, stored, received);
}

/* Binds a series and a time. */
static sqlite3_stmt *point_stmt(insertion *in, int which, int64_t id, int64_t timestamp_ms)
{
    sqlite3_stmt *stmt = pra__sql_stmt(&in->store->writer, which);
    if (stmt) {
        sqlite3_bind_int64(stmt, 1, id);
        sqlite3_bind_int64(stmt, 2, timestamp_ms);
    }
    return stmt;
}

/* Finds the sample of a series at a time. Returns PRA_OK, PRA_DONE if there is none, or an error.
 */
static int stored_sample(insertion *in, int64_t id, int64_t timestamp_ms, uint64_t *bits)
{
    sqlite3_stmt *stmt = point_stmt(in, SQL_SAMPLE_GET, id, timestamp_ms);
    int rc = stmt ? sqlite3_step(stmt) : SQLITE_ERROR;
    if (rc == SQLITE_DONE)
        return PRA_DONE;
    if (rc != SQLITE_ROW)
        return writer_error(in->store, in->err);
    int code = pra__sql_column_bits(stmt, 0, bits);
    sqlite3_reset(stmt);
    return code == PRA_OK ? PRA_OK
                          : pra_error_set_cstr(in->err, code,
                                               "the store's file holds a value that is no number");
}

static int add_sample(insertion *in, const sql_series *series, uint32_t k)
{
    const pra_columns *cols = &in->job->cols;
    const double *value = &cols->values[k];
    int64_t t = cols->timestamps_ms[k];
    int which = series->histograms ? SQL_SAMPLE_ADD_MIXED : SQL_SAMPLE_ADD;
    sqlite3_stmt *stmt = point_stmt(in, which, series->id, t);
    if (!stmt)
        return writer_error(in->store, in->err);
    pra__sql_bind_value(stmt, 3, value);
    if (pra__sql_once(stmt, NULL) != SQLITE_DONE)
        return writer_error(in->store, in->err);
    if (sqlite3_changes(in->store->writer.db)) {
        in->counts->inserted[PRA_DATUM_SAMPLE]++;
        return PRA_OK;
    }
    pra__datum stored = {0}, received = sample_datum(value);
    int code = stored_sample(in, series->id, t, &stored.bits);
    if (code < 0)
        return code;
    stored.histogram = code == PRA_DONE;
    judge(in, PRA_DATUM_SAMPLE, t, !stored.histogram && stored.bits == received.bits, stored,
          received);
    return PRA_OK;
}

static int check_histogram(insertion *in, int64_t id, int64_t timestamp_ms, pra_str data)
{
    pra__datum stored = {.histogram = true}, received = stored;
    sqlite3_stmt *stmt = point_stmt(in, SQL_HISTOGRAM_GET, id, timestamp_ms);
    int rc = stmt ? sqlite3_step(stmt) : SQLITE_ERROR;
    if (rc == SQLITE_ROW) {
        pra_str there = pra__sql_column_blob(stmt, 0);
        judge(in, PRA_DATUM_HISTOGRAM, timestamp_ms, pra__str_equal(there, data), stored, received);
        sqlite3_reset(stmt);
        return PRA_OK;
    }
    if (rc != SQLITE_DONE)
        return writer_error(in->store, in->err);
    stored.histogram = false;
    int code = stored_sample(in, id, timestamp_ms, &stored.bits);
    if (code == PRA_OK)
        judge(in, PRA_DATUM_HISTOGRAM, timestamp_ms, false, stored, received);
    return code < 0 ? code : PRA_OK;
}

/* For people only. */
static double count_of(const pra_histogram *h)
{
    double count;
    memcpy(&count, &h->count_bits, sizeof count);
    return h->flags & PRA_HISTOGRAM_FLOAT ? count : (double)h->count_bits;
}

static int add_histogram(insertion *in, sql_series *series, uint32_t k)
{
    sql_store *store = in->store;
    const pra_histogram *h = &in->job->cols.histograms[k];
    pra_buffer_reset(store->data);
    if (pra_histogram_encode(&in->job->cols, k, store->data) != PRA_OK)
        return nomem(in->err);
    pra_str data = buffered(store->data);
    if (data.len > MAX_TEXT_BYTES) {
        in->too_large[PRA_DATUM_HISTOGRAM]++;
        return PRA_OK;
    }
    sqlite3_stmt *stmt = point_stmt(in, SQL_HISTOGRAM_ADD, series->id, h->timestamp_ms);
    if (!stmt)
        return writer_error(store, in->err);
    double count = count_of(h);
    sqlite3_bind_blob(stmt, 3, data.ptr, (int)data.len, SQLITE_STATIC);
    pra__sql_bind_value(stmt, 4, &count);
    pra__sql_bind_value(stmt, 5, &h->sum);
    if (pra__sql_once(stmt, NULL) != SQLITE_DONE)
        return writer_error(store, in->err);
    if (sqlite3_changes(store->writer.db) == 0)
        return check_histogram(in, series->id, h->timestamp_ms, data);
    in->counts->inserted[PRA_DATUM_HISTOGRAM]++;
    atomic_store(&store->histograms, true);
    if (!series->histograms)
        pra__sql_cache_mark(&store->cache, in->tenant, in->fingerprint, buffered(store->text));
    series->histograms = true;
    return PRA_OK;
}

/* ---- exemplars, metadata */

static int add_exemplar(insertion *in, const sql_series *series, uint32_t k)
{
    sql_store *store = in->store;
    const pra_columns *cols = &in->job->cols;
    uint32_t first = cols->exemplar_label_offsets[k], last = cols->exemplar_label_offsets[k + 1];
    pra_buffer_reset(store->data);
    if (pra__sql_labels_format(cols->base, cols->exemplar_labels + first, last - first,
                               store->data) != PRA_OK)
        return nomem(in->err);
    pra_str labels = buffered(store->data);
    if (labels.len > MAX_TEXT_BYTES) {
        in->too_large[PRA_DATUM_EXEMPLAR]++;
        return PRA_OK;
    }
    sqlite3_stmt *stmt =
        point_stmt(in, SQL_EXEMPLAR_ADD, series->id, cols->exemplar_timestamps_ms[k]);
    if (!stmt)
        return writer_error(store, in->err);
    pra__sql_bind_value(stmt, 3, &cols->exemplar_values[k]);
    pra__sql_bind_str(stmt, 4, labels);
    if (pra__sql_once(stmt, NULL) != SQLITE_DONE)
        return writer_error(store, in->err);
    bool inserted = sqlite3_changes(store->writer.db) != 0;
    (*(inserted ? &in->counts->inserted : &in->counts->duplicates))[PRA_DATUM_EXEMPLAR]++;
    return PRA_OK;
}

/* What the next two statements need; a sender that repeats itself costs no write. */
static sqlite3_stmt *metadata_stmt(insertion *in, int which, const pra_metadata *entry)
{
    const pra_columns *cols = &in->job->cols;
    sqlite3_stmt *stmt = pra__sql_stmt(&in->store->writer, which);
    if (!stmt)
        return NULL;
    sqlite3_bind_int64(stmt, 1, in->tenant);
    pra__sql_bind_str(stmt, 2, pra__metadata_family(cols, entry));
    sqlite3_bind_int(stmt, 3, entry->type);
    pra__sql_bind_str(stmt, 4, pra__store_span(cols->base, entry->help));
    pra__sql_bind_str(stmt, 5, pra__store_span(cols->base, entry->unit));
    return stmt;
}

static int put_metadata(insertion *in, const pra_metadata *entry)
{
    int64_t same = 0;
    pra_str family = pra__metadata_family(&in->job->cols, entry);
    if (!family.len || family.len > MAX_TEXT_BYTES || entry->help.len > MAX_TEXT_BYTES ||
        entry->unit.len > MAX_TEXT_BYTES)
        return PRA_OK;
    sqlite3_stmt *find = metadata_stmt(in, SQL_METADATA_FIND, entry);
    int rc = find ? pra__sql_once(find, &same) : SQLITE_ERROR;
    if (rc == SQLITE_ROW && same)
        return PRA_OK;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return writer_error(in->store, in->err);
    sqlite3_stmt *put = metadata_stmt(in, SQL_METADATA_PUT, entry);
    if (!put || pra__sql_once(put, NULL) != SQLITE_DONE)
        return writer_error(in->store, in->err);
    in->counts->metadata += rc == SQLITE_DONE;
    return PRA_OK;
}

/* ---- the request */

/* Keeps what was refused in a series for the report. */
static int keep_refusals(insertion *in, size_t series)
{
    sql_job *job = in->job;
    for (int32_t kind = 0; kind < SQL_KINDS; kind++) {
        if (!in->conflicts[kind].count && !in->too_large[kind])
            continue;
        if (pra__store_grow(&in->store->alloc, (void **)&job->refusals, &job->refusal_cap,
                            job->refusal_count + 1, sizeof *job->refusals) != 0)
            return nomem(in->err);
        job->refusals[job->refusal_count++] =
            (sql_refusal){series, kind, in->too_large[kind], in->conflicts[kind]};
        in->conflicts[kind] = (pra__conflicts){0};
        in->too_large[kind] = 0;
    }
    return PRA_OK;
}

static int write_series(insertion *in, size_t i)
{
    const pra_columns *cols = &in->job->cols;
    const uint32_t *samples = cols->sample_offsets + i, *exemplars = cols->exemplar_offsets + i;
    const uint32_t *histograms = cols->histogram_offsets + i;
    if (samples[0] == samples[1] && histograms[0] == histograms[1] && exemplars[0] == exemplars[1])
        return PRA_OK;
    sql_series series;
    int code = find_series(in, i, &series);
    if (code == PRA_ERR_REJECT) {
        in->too_large[PRA_DATUM_SAMPLE] = samples[1] - samples[0];
        in->too_large[PRA_DATUM_HISTOGRAM] = histograms[1] - histograms[0];
        in->too_large[PRA_DATUM_EXEMPLAR] = exemplars[1] - exemplars[0];
        return keep_refusals(in, i);
    }
    for (uint32_t k = samples[0]; code == PRA_OK && k < samples[1]; k++)
        code = add_sample(in, &series, k);
    for (uint32_t k = histograms[0]; code == PRA_OK && k < histograms[1]; k++)
        code = add_histogram(in, &series, k);
    for (uint32_t k = exemplars[0]; code == PRA_OK && k < exemplars[1]; k++)
        code = add_exemplar(in, &series, k);
    return code == PRA_OK ? keep_refusals(in, i) : code;
}

int pra__sql_insert(sql_store *store, sql_job *job, sql_counts *counts, pra_error *err)
{
    insertion in = {.store = store, .job = job, .counts = counts, .err = err};
    const pra_columns *cols = &job->cols;
    int code = tenant_id(store, job->tenant, &in.tenant, err);
    for (size_t i = 0; code == PRA_OK && i < cols->series_count; i++)
        code = write_series(&in, i);
    for (size_t i = 0; code == PRA_OK && i < cols->metadata_count; i++)
        if (!pra__metadata_repeats(cols, i))
            code = put_metadata(&in, &cols->metadata[i]);
    counts->requests++;
    return code;
}
