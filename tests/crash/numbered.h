/* SPDX-License-Identifier: Apache-2.0 */
/* Numbered data: what the crash tests write, and the check of what a store then holds. Number n of
 * thread t has time n and value n * THREADS + t, in a series for every PER_SERIES numbers. Every
 * HISTOGRAM_EVERY-th is a histogram with that count, and has an exemplar; the others are samples.
 */
#ifndef TESTS_CRASH_NUMBERED_H
#define TESTS_CRASH_NUMBERED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pra_stores.h"
#include "remote/write_result.h"
#include "stores/sqlite_store.h"
#include "support/asking.h"

enum { THREADS = 4, PER_SERIES = 37, HISTOGRAM_EVERY = 5 };

/* The exemplars' times are long gone. */
static const pra_store_opts keep_all = {.size = sizeof keep_all,
                                        .exemplar_retention_ms = PRA_UNLIMITED};

static void die(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void check(int ok, const char *what)
{
    if (!ok)
        die(what);
}

static int add_histogram(pra_write_request *request, int64_t n, int64_t count)
{
    static const pra_bucket_span span = {1, 1};
    static const pra_label trace = {{"trace_id", 8}, {"x", 1}};
    const pra_histogram h = {.timestamp_ms = n,
                             .count_bits = (uint64_t)count,
                             .sum = (double)count,
                             .positive_spans = {0, 1},
                             .positive_deltas = {0, 1}};
    const pra_columns c = {.size = sizeof c,
                           .histograms = &h,
                           .histogram_count = 1,
                           .bucket_spans = &span,
                           .bucket_span_count = 1,
                           .positive_deltas = &count,
                           .positive_delta_count = 1};
    int code = pra_write_request_add_histogram(request, &c, 0);
    return code ? code : pra_write_request_add_exemplar(request, &trace, 1, n, (double)count);
}

/* Numbers from..to-1, each series taking PER_SERIES of them. */
static int build(pra_write_request *request, uint32_t thread, int64_t from, int64_t to)
{
    int code = PRA_OK;
    pra_write_request_reset(request);
    for (int64_t n = from; code == PRA_OK && n < to; n++) {
        double value = (double)(n * THREADS + thread);
        if (n == from || n % PER_SERIES == 0) {
            char block[24], name[8];
            snprintf(block, sizeof block, "%lld", (long long)(n / PER_SERIES));
            snprintf(name, sizeof name, "%u", thread);
            const pra_label labels[] = {{{"block", 5}, {block, strlen(block)}},
                                        {{"thread", 6}, {name, strlen(name)}}};
            code = pra_write_request_add_series(request, labels, 2);
        }
        if (code == PRA_OK && n % HISTOGRAM_EVERY == 0)
            code = add_histogram(request, n, n * THREADS + thread);
        else if (code == PRA_OK)
            code = pra_write_request_add_samples(request, &n, &value, NULL, 1);
    }
    return code;
}

static int64_t number_of(pra_str s)
{
    char text[24] = {0};
    memcpy(text, s.ptr, s.len < sizeof text - 1 ? s.len : sizeof text - 1);
    return strtoll(text, NULL, 10);
}

/* Something that came back. */
struct found {
    uint32_t thread;
    int64_t block; /* its series */
    int64_t n;
    int histogram;
    double value;
};

static void mark(const struct found *found, unsigned char *seen, int64_t limit)
{
    int64_t n = found->n;
    check(n >= 0 && n < limit, "a number that was never sent");
    check(!seen[n], "a number twice");
    check(n / PER_SERIES == found->block, "a number in another series");
    check((n % HISTOGRAM_EVERY == 0) == found->histogram, "a number of another kind");
    check(found->value == (double)(n * THREADS + found->thread), "another value");
    seen[n] = 1;
}

/* Marks what is in one thread's answer; returns how much it is. */
static int64_t mark_all(const pra_columns *c, uint32_t thread, unsigned char *seen, int64_t limit)
{
    for (size_t i = 0; i < c->series_count; i++) {
        const pra_label_span *label = &c->labels[c->label_offsets[i]];
        int64_t block = number_of(pra__store_span(c->base, label->value));
        for (uint32_t k = c->sample_offsets[i]; k < c->sample_offsets[i + 1]; k++)
            mark(&(struct found){thread, block, c->timestamps_ms[k], 0, c->values[k]}, seen, limit);
        for (uint32_t k = c->histogram_offsets[i]; k < c->histogram_offsets[i + 1]; k++) {
            const pra_histogram *h = &c->histograms[k];
            mark(&(struct found){thread, block, h->timestamp_ms, 1, (double)h->count_bits}, seen,
                 limit);
        }
    }
    return (int64_t)(c->sample_count + c->histogram_count);
}

/* Reads all that is of a thread; they must be numbers 0..result-1, below limit. */
static int64_t stored_of(const pra_storage *store, uint32_t thread, int64_t limit)
{
    char name[8];
    pra_read_request *request = NULL;
    pra_read_response *response = NULL;
    pra_buffer *body = NULL;
    pra_columns c = {.size = sizeof c};
    snprintf(name, sizeof name, "%u", thread);
    unsigned char *seen = calloc((size_t)limit + 1, 1);
    check(seen && pra_read_request_new(NULL, &request) == 0 && pra_buffer_new(NULL, &body) == 0 &&
              pra_read_response_new(NULL, &response) == 0,
          "out of memory");
    check(pra_read_request_add_query(request, INT64_MIN, INT64_MAX) == 0 &&
              pra_read_request_add_matcher(request, PRA_MATCH_EQUAL, (pra_str){"thread", 6},
                                           (pra_str){name, strlen(name)}) == 0,
          "cannot build a query");
    check(ask_storage(store, (pra_str){NULL, 0}, request, NULL, body, NULL) == 0,
          "the query failed");
    check(pra_read_response_decode_snappy(response, pra_buffer_data(body), pra_buffer_len(body),
                                          NULL, NULL) == 0 &&
              pra_read_response_columns(response, &c) == 0,
          "cannot decode the answer");
    int64_t count = mark_all(&c, thread, seen, limit);
    for (int64_t n = 0; n < count; n++)
        check(seen[n], "a gap");
    pra_read_response_free(response);
    pra_buffer_free(body);
    pra_read_request_free(request);
    free(seen);
    return count;
}

static void check_file(const char *path, int64_t numbers)
{
    static const char sql[] =
        "SELECT (SELECT group_concat(integrity_check) FROM pragma_integrity_check) = 'ok' AND "
        "(SELECT count(*) FROM samples) + (SELECT count(*) FROM histograms) = ?1 AND "
        "(SELECT count(*) FROM exemplars) = (SELECT count(*) FROM histograms) AND "
        "(SELECT count(*) FROM label_index) = 2 * (SELECT count(*) FROM series) AND "
        "NOT EXISTS (SELECT 1 FROM samples LEFT JOIN series ON id = series_id WHERE id IS NULL) "
        "AND NOT EXISTS (SELECT 1 FROM histograms LEFT JOIN series ON id = series_id WHERE id IS "
        "NULL) AND NOT EXISTS (SELECT 1 FROM exemplars NATURAL LEFT JOIN histograms WHERE data IS "
        "NULL) AND NOT EXISTS (SELECT 1 FROM series GROUP BY tenant_id, labels HAVING count(*) > "
        "1)";
    sqlite3 *db;
    sqlite3_stmt *stmt = NULL;
    check(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK,
          "cannot look into the file");
    sqlite3_bind_int64(stmt, 1, numbers);
    check(sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int(stmt, 0) == 1,
          "the file is not as it should be");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

static void remove_store(const char *path)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-lock"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[112];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
}

#endif
