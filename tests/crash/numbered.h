/* SPDX-License-Identifier: Apache-2.0 */
/* Numbered samples: what the crash tests write, and the check of what a store then holds. Sample n
 * of thread t has time n and value n * THREADS + t, in a series for every PER_SERIES numbers. */
#ifndef TESTS_CRASH_NUMBERED_H
#define TESTS_CRASH_NUMBERED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pra_stores.h"
#include "remote/write_result.h"
#include "stores/sqlite_store.h"

enum { THREADS = 4, PER_SERIES = 37 };

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

/* Samples number from..to-1, each series taking PER_SERIES of them. */
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
        if (code == PRA_OK)
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

/* Marks the samples of one thread's answer; returns the number of samples. */
static int64_t mark(const pra_columns *c, uint32_t thread, unsigned char *seen, int64_t limit)
{
    for (size_t i = 0; i < c->series_count; i++) {
        const pra_label_span *label = &c->labels[c->label_offsets[i]];
        int64_t block = number_of(pra__store_span(c->base, label->value));
        for (uint32_t k = c->sample_offsets[i]; k < c->sample_offsets[i + 1]; k++) {
            int64_t n = c->timestamps_ms[k];
            check(n >= 0 && n < limit, "a sample that was never sent");
            check(!seen[n], "a sample twice");
            check(n / PER_SERIES == block, "a sample in another series");
            check(c->values[k] == (double)(n * THREADS + thread), "another value");
            seen[n] = 1;
        }
    }
    return (int64_t)c->sample_count;
}

/* Reads all samples of a thread; they must be numbers 0..result-1, below limit. */
static int64_t stored_of(const pra_storage *store, uint32_t thread, int64_t limit)
{
    char name[8];
    pra_read_request *request = NULL;
    pra_series_sink *sink = NULL;
    pra_read_response *response = NULL;
    pra_buffer *out = NULL;
    pra_columns c = {.size = sizeof c};
    snprintf(name, sizeof name, "%u", thread);
    unsigned char *seen = calloc((size_t)limit + 1, 1);
    check(seen && pra_read_request_new(NULL, &request) == 0 && pra_buffer_new(NULL, &out) == 0 &&
              pra_read_response_new(NULL, &response) == 0 &&
              pra_series_sink_new(NULL, INT64_MIN, INT64_MAX, NULL, &sink) == 0,
          "out of memory");
    check(pra_read_request_add_query(request, INT64_MIN, INT64_MAX) == 0 &&
              pra_read_request_add_matcher(request, PRA_MATCH_EQUAL, (pra_str){"thread", 6},
                                           (pra_str){name, strlen(name)}) == 0 &&
              pra_read_request_compile(request, NULL, NULL) == 0,
          "cannot build a query");
    check(store->vtbl->process_query(store->self, NULL, pra_read_request_query(request, 0), sink,
                                     NULL) == 0,
          "the query failed");
    check(pra_read_response_encode((const pra_series_sink *const *)&sink, 1, out, NULL) == 0 &&
              pra_read_response_decode(response, pra_buffer_data(out), pra_buffer_len(out), NULL,
                                       NULL) == 0 &&
              pra_read_response_columns(response, &c) == 0,
          "cannot decode the answer");
    int64_t count = mark(&c, thread, seen, limit);
    for (int64_t n = 0; n < count; n++)
        check(seen[n], "a gap");
    pra_series_sink_free(sink);
    pra_read_response_free(response);
    pra_buffer_free(out);
    pra_read_request_free(request);
    free(seen);
    return count;
}

static void check_file(const char *path, int64_t samples)
{
    static const char sql[] =
        "SELECT (SELECT group_concat(integrity_check) FROM pragma_integrity_check) = 'ok' AND "
        "(SELECT count(*) FROM samples) = ?1 AND "
        "(SELECT count(*) FROM label_index) = 2 * (SELECT count(*) FROM series) AND "
        "NOT EXISTS (SELECT 1 FROM samples LEFT JOIN series ON id = series_id WHERE id IS NULL) "
        "AND NOT EXISTS (SELECT 1 FROM series GROUP BY tenant_id, labels HAVING count(*) > 1)";
    sqlite3 *db;
    sqlite3_stmt *stmt = NULL;
    check(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK,
          "cannot look into the file");
    sqlite3_bind_int64(stmt, 1, samples);
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
