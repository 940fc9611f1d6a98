/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite store: retention, long answers, the cache, threads. */
#include <math.h>

#include "sqlite_fixture.h"
#include "store_oom.h"
#include "store_threads.h"

/* ---- retention */

static void retention_in_tiny_steps(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "a=%d,b=x", i);
        add_series(f, labels);
        for (int t = 0; t <= i; t++)
            add_sample(f, t * 10, t);
    }
    write_ok(f);
    int steps = 0, through;
    do {
        through = pra__sql_retention_step(f->store.self, before(30), 1);
        assert_true(through >= 0);
        steps++;
    } while (!through);
    assert_true(steps >= 12); /* 12 samples are older */
    assert_string_equal(QUERY(f, "b=x"), "a=3,b=x 30:3\na=4,b=x 30:3 40:4\n");
    assert_int_equal(ask("SELECT count(*) FROM series"), 2);
    assert_int_equal(ask("SELECT count(*) FROM label_index"), 4);
    write_one(f, "a=1,b=x", 50, 5); /* a series that was gone and must not be in the cache */
    assert_string_equal(QUERY(f, "a=1"), "a=1,b=x 50:5\n");
    assert_int_equal(ask("SELECT count(*) FROM label_index"), 6);
    sql_store *store = f->store.self;
    assert_int_equal(atomic_load(&store->stats.series), 3);
    assert_int_equal(atomic_load(&store->stats.expired[PRA_DATUM_SAMPLE]), 12);
    assert_int_equal(pra__sql_retention_step(store, before(30), 1), 1); /* nothing to do */
}

/* More exemplars of one time than a step may delete. */
static void retention_takes_all_kinds(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    for (int i = 0; i < 3; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "a=%d", i);
        add_series(f, labels);
        add_histogram(f, 10, 1);
        add_histogram(f, 20, 2);
        for (int k = 0; k < 10; k++)
            add_exemplar(f, "trace_id=x", 10, k);
        add_exemplar(f, "trace_id=x", i == 2 ? 40 : 20, 1);
        if (i)
            add_sample(f, 30, 3);
    }
    write_ok(f);
    int steps = 1;
    while (!pra__sql_retention_step(store, (pra__cutoffs){INT64_MIN, 20}, 4))
        steps++;
    assert_true(steps >= 8); /* 30 of them, 4 a step */
    assert_int_equal(ask("SELECT count(*) FROM exemplars"), 3);
    assert_int_equal(ask("SELECT count(*) FROM histograms"), 6);
    while (!pra__sql_retention_step(store, before(30), 1))
        ;
    assert_string_equal(QUERY(f, "a!="), "a=1 30:3\na=2 30:3\n");
    assert_int_equal(ask("SELECT count(*) FROM exemplars"), 1);
    assert_int_equal(ask("SELECT count(*) FROM histograms"), 0);
    assert_true(metric(f, "expired_histograms_total") == 6);
    assert_true(metric(f, "expired_exemplars_total") == 32);
    while (!pra__sql_retention_step(store, (pra__cutoffs){31, 40}, 1))
        ;
    assert_int_equal(ask("SELECT count(*) FROM series"), 1); /* for its exemplar */
    while (!pra__sql_retention_step(store, (pra__cutoffs){INT64_MIN, 41}, 1))
        ;
    assert_int_equal(ask("SELECT count(*) FROM series"), 0);
    assert_true(metric(f, "series") == 0 && metric(f, "exemplars") == 0);
}

/* A running query must not find another series under the number of one that has gone. */
static void numbers_of_series_are_not_used_again(void **state)
{
    struct fixture *f = *state;
    write_one(f, "a=1", 1, 1);
    int64_t first = ask("SELECT max(id) FROM series");
    assert_int_equal(pra__sql_retention_step(f->store.self, before(30), 10), 1);
    assert_int_equal(ask("SELECT count(*) FROM series"), 0);
    write_one(f, "a=2", 1, 1);
    assert_int_equal(ask("SELECT max(id) FROM series"), first + 1);
}

static void retention_that_fails_changes_nothing(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    write_one(f, "a=1", 1, 1);
    assert_int_equal(sqlite3_exec(store->writer.db, "PRAGMA query_only = 1", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(pra__sql_retention_step(store, before(30), 10) < 0);
    assert_int_equal(sqlite3_exec(store->writer.db, "PRAGMA query_only = 0", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1\n");
    assert_int_equal(pra__sql_retention_step(store, before(30), 10), 1);
    assert_string_equal(QUERY(f, "a=1"), "");
}

/* ---- streamed answers */

enum { LONG_SERIES = 60, LONG_SAMPLES = 3000 };

/* Values that do not compress. */
static void write_long_series(struct fixture *f)
{
    for (int i = 0; i < LONG_SERIES; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "__name__=long,i=%02d", i);
        add_series(f, labels);
        for (int t = 0; t < LONG_SAMPLES; t++)
            add_sample(f, t, sqrt(i * LONG_SAMPLES + t));
    }
    write_ok(f);
}

static pra_read_request *stream_of(const char *matcher)
{
    pra_read_request *request = new_query(0, INT64_MAX, (const char *const[]){matcher, NULL});
    assert_int_equal(pra_read_request_add_accepted(request, PRA_RESPONSE_STREAMED_XOR_CHUNKS),
                     PRA_OK);
    return request;
}

/* Takes what is left of an answer; returns its bytes. */
static size_t take_rest(struct asking *a)
{
    const void *piece;
    size_t len, bytes = 0;
    int code;
    while ((code = asking_next(a, &piece, &len, NULL)) == PRA_OK)
        bytes += len;
    assert_int_equal(code, PRA_DONE);
    return bytes;
}

static void a_long_answer_takes_no_more_memory_than_a_short_one(void **state)
{
    enum { FRAME = 32768 };
    struct fixture *f = *state;
    size_t peak[2], answer[2];
    int64_t sqlite_peak[2];
    pra_limits limits;
    assert_int_equal(pra_limits_init(&limits, sizeof limits), PRA_OK);
    limits.max_frame_bytes = FRAME;
    write_long_series(f);
    for (int i = 0; i < 2; i++) {
        struct oom_alloc counted = {.fail_at = SIZE_MAX};
        pra_alloc alloc = {&counted, oom_fn};
        struct asking a;
        close_store(f); /* with the pages that it has in memory */
        assert_int_equal(open_store(&alloc, &keep_all, &f->store, &f->err), PRA_OK);
        counted.peak = counted.live;
        size_t open = counted.live;
        int64_t sqlite_open = sqlite3_memory_used();
        sqlite3_memory_highwater(1);
        pra_read_request *request = stream_of(i ? "__name__=long" : "i=~0[0-5]");
        assert_int_equal(
            asking_begin(&a, &alloc, &f->store, f->context.tenant, request, &limits, NULL), PRA_OK);
        answer[i] = take_rest(&a);
        peak[i] = counted.peak - open;
        sqlite_peak[i] = sqlite3_memory_highwater(0) - sqlite_open;
        asking_end(&a);
        pra_read_request_free(request);
        close_store(f);
        assert_int_equal(counted.live, 0);
        assert_int_equal(open_store(NULL, &keep_all, &f->store, &f->err), PRA_OK);
    }
    assert_true(answer[1] > 9 * answer[0] && answer[1] > 20 * FRAME);
    assert_true(peak[1] < peak[0] + FRAME);
    assert_true(sqlite_peak[1] < 4 * 1024 * 1024); /* its cache of pages */
}

/* A reader that takes a piece and then nothing for a while. */
/* Begins an answer of all long series and takes its first piece. *whole is its size. */
static pra_read_request *begin_long(struct fixture *f, struct asking *a, size_t *first,
                                    size_t *whole)
{
    pra_read_request *request = stream_of("__name__=long");
    const void *piece;
    write_long_series(f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(asking_begin(a, NULL, &f->store, f->context.tenant, request, NULL, NULL),
                         PRA_OK);
        if (i == 0) {
            *whole = take_rest(a);
            asking_end(a);
        }
    }
    assert_int_equal(asking_next(a, &piece, first, NULL), PRA_OK);
    return request;
}

/* A reader that takes a piece and then nothing for a while. */
static void a_slow_reader_holds_nothing_up(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    struct asking a;
    size_t first, whole;
    pra_read_request *request = begin_long(f, &a, &first, &whole);
    assert_int_equal(store->readers, 1);
    assert_non_null(store->pool); /* its connection is free, */
    assert_int_equal(sqlite3_txn_state(store->pool->db, NULL), SQLITE_TXN_NONE);
    for (int i = 0; i < 3; i++) { /* and the log can be emptied */
        write_one(f, "__name__=other", i, i);
        assert_int_equal(sqlite3_wal_checkpoint_v2(store->writer.db, NULL,
                                                   SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
                         SQLITE_OK);
        assert_true(metric(f, "wal_bytes") == 0);
    }
    assert_int_equal(first + take_rest(&a), whole);
    asking_end(&a);
    pra_read_request_free(request);
}

static void series_that_go_during_an_answer_are_left_out(void **state)
{
    struct fixture *f = *state;
    struct asking a;
    size_t first, whole;
    pra_read_request *request = begin_long(f, &a, &first, &whole);
    while (pra__sql_retention_step(f->store.self, before(LONG_SAMPLES), 100000) == 0)
        ;
    assert_int_equal(ask("SELECT count(*) FROM series"), 0);
    f->context.tenant = cstr("other");
    write_long_series(f); /* none of these may come */
    assert_true(first + take_rest(&a) < whole / 10);
    asking_end(&a);
    pra_read_request_free(request);
}

/* Those behind the first 20,000 are listed only if they have data in the range. */
static void a_long_list_is_of_series_with_data(void **state)
{
    enum { SERIES = 20200 };
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    const char *const matchers[] = {"all=x", NULL};
    for (int i = 0; i < SERIES; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, "all=x,i=%05d", i);
        add_series(f, labels);
        add_sample(f, i % 100 ? 1 : 50, i);
        if (i == SERIES - 1)
            add_histogram(f, 60, 1);
    }
    write_ok(f);
    assert_int_equal(query_range(f, 50, 59, matchers), PRA_OK);
    assert_int_equal(count_of_char(f->dump, '\n'), SERIES / 100);
    assert_non_null(store->pool->statements[SQL_ANY_BETWEEN]);
    assert_int_equal(query_range(f, 60, 99, matchers), PRA_OK);
    assert_string_equal(f->dump, "all=x,i=20199 60:h1/0.5\n");
    assert_int_equal(query_range(f, INT64_MIN, INT64_MAX, matchers), PRA_OK);
    assert_int_equal(count_of_char(f->dump, '\n'), SERIES);
}

/* ---- the cache of ids */

static int64_t cached(sql_cache *cache, int64_t tenant, int number, const char *text)
{
    sql_series series;
    bool found = pra__sql_cache_find(cache, tenant, (uint64_t)(number % 7), cstr(text), &series);
    return found ? series.id : 0;
}

static void a_small_cache_forgets_and_finds_again(void **state)
{
    enum { SERIES = 2000 };
    (void)state;
    sql_cache cache;
    assert_int_equal(pra__sql_cache_init(&cache, pra_alloc_libc(), 32768), PRA_OK);
    int found = 0, found_old = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 1; i <= SERIES; i++) {
            char text[32];
            snprintf(text, sizeof text, "{\"a\":\"%d\"}", i);
            int64_t id = cached(&cache, i % 3, i, text);
            assert_true(id == 0 || id == i);
            found += id == i;
            if (!id)
                pra__sql_cache_put(&cache, i % 3, (uint64_t)(i % 7), cstr(text),
                                   (sql_series){i, false});
            assert_int_equal(cached(&cache, i % 3, i, text), i);
            assert_int_equal(cached(&cache, 5, i, text), 0);
            int old = i - 150; /* in use again from time to time: kept over the generations */
            snprintf(text, sizeof text, "{\"a\":\"%d\"}", old);
            if (old > 0)
                found_old += cached(&cache, old % 3, old, text) == old;
        }
    }
    assert_true(found < SERIES); /* it did forget */
    assert_true(found_old > SERIES);
    pra_str last = STR("{\"a\":\"2000\"}");
    sql_series series;
    pra__sql_cache_mark(&cache, SERIES % 3, SERIES % 7, last);
    assert_true(pra__sql_cache_find(&cache, SERIES % 3, SERIES % 7, last, &series));
    assert_true(series.histograms);
    pra__sql_cache_remove(&cache, SERIES % 3, SERIES % 7, last);
    assert_int_equal(cached(&cache, SERIES % 3, SERIES, last.ptr), 0);
    pra__sql_cache_clear(&cache);
    assert_int_equal(cached(&cache, 1999 % 3, 1999, "{\"a\":\"1999\"}"), 0);
    pra__sql_cache_fini(&cache);
}

static void label_text_is_parsed_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":\"b\"",
        "{\"a\":b}",
        "{\"a\":\"b\"}x",
        "{,}",
        "{\"a\":\"\\n\"}",
        "{\"a\":\"\\u01\"}",
        "{\"a\":\"\\u0100\"}",
        "{\"a\":\"b\"\"c\":\"d\"}",
        "{\"a\":\"\\",
        "{\"a\":\"\\u00zz\"}",
    };
    sql_labels labels = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(pra__sql_labels_parse(pra_alloc_libc(), cstr(bad[i]), &labels),
                         PRA_ERR_CORRUPT);
    assert_int_equal(
        pra__sql_labels_parse(pra_alloc_libc(), STR("{\"a\":\"\\u0000\\\"\"}"), &labels), PRA_OK);
    assert_int_equal(labels.count, 1);
    assert_int_equal(labels.labels[0].value.len, 2);
    assert_memory_equal(labels.labels[0].value.ptr, "\0\"", 2);
    pra__sql_labels_fini(pra_alloc_libc(), &labels);
}

/* ---- threads */

static void a_retention_step(struct fixture *f)
{
    assert_true(pra__sql_retention_step(f->store.self, before(-1), 10) >= 0);
}

static void writers_share_commits(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    assert_int_equal(run_writers(f, a_retention_step), WRITERS * REQUESTS);
    assert_int_equal(atomic_load(&store->stats.commit_requests), WRITERS * REQUESTS);
    assert_true(atomic_load(&store->stats.commits) < WRITERS * REQUESTS);
    assert_int_equal(ask("SELECT count(*) FROM samples JOIN series ON id = series_id WHERE "
                         "CAST(labels ->> 'w' AS INTEGER) = value"),
                     WRITERS * REQUESTS * SAMPLES);
}

/* Every request of a transaction that failed is answered so, and none of it is there. */
static void a_failed_commit_fails_all_its_requests(void **state)
{
    struct fixture *f = *state;
    sql_store *store = f->store.self;
    set_max_pages(f, 20);
    int stored = run_writers(f, a_retention_step);
    assert_true(stored < WRITERS * REQUESTS);
    assert_int_equal(atomic_load(&store->stats.commit_requests), stored);
    assert_true(atomic_load(&store->stats.failed_commits) > 0);
    set_max_pages(f, 1000000);
    assert_int_equal(run_writers(f, a_retention_step), WRITERS * REQUESTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(retention_in_tiny_steps),
        STORE_TEST(retention_takes_all_kinds),
        STORE_TEST(numbers_of_series_are_not_used_again),
        STORE_TEST(retention_that_fails_changes_nothing),
        STORE_TEST(a_long_answer_takes_no_more_memory_than_a_short_one),
        STORE_TEST(a_long_list_is_of_series_with_data),
        STORE_TEST(a_slow_reader_holds_nothing_up),
        STORE_TEST(series_that_go_during_an_answer_are_left_out),
        cmocka_unit_test(a_small_cache_forgets_and_finds_again),
        cmocka_unit_test(label_text_is_parsed_strictly),
        STORE_TEST(writers_share_commits),
        STORE_TEST(a_failed_commit_fails_all_its_requests),
    };
    if (!make_folder())
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_folder();
    return failed;
}
