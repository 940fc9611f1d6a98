/* SPDX-License-Identifier: Apache-2.0 */
/* What every bundled store must do, tested through its vtable. A test program includes this,
 * defines open_store and puts STORE_BEHAVIOUR among its tests. */
#ifndef TESTS_STORE_BEHAVIOUR_H
#define TESTS_STORE_BEHAVIOUR_H

#include <unistd.h>

#include "store_histograms.h"
#include "store_oom.h"

/* ---- tests */

static void says_what_it_can_do(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->store.vtbl->size, sizeof(pra_storage_vtbl));
    assert_int_equal(f->store.vtbl->flags,
                     PRA_STORAGE_PARALLEL_QUERIES | PRA_STORAGE_HISTOGRAMS | PRA_STORAGE_EXEMPLARS);
}

static void an_empty_store_answers(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(QUERY(f, "a=1"), "");
    write_ok(f); /* a request without anything */
    add_series(f, "a=1");
    write_ok(f); /* a series without samples */
    assert_string_equal(QUERY(f, "a=1"), "");
}

static void gives_back_what_was_written(void **state)
{
    struct fixture *f = *state;
    add_series(f, "__name__=up,job=x");
    add_sample(f, 1000, 1);
    add_sample(f, 2000, 0.1);
    add_series(f, "__name__=up,job=y");
    add_sample(f, 1000, -0.75);
    write_ok(f);
    assert_string_equal(QUERY(f, "__name__=up"),
                        "__name__=up,job=x 1000:1 2000:0.10000000000000001\n"
                        "__name__=up,job=y 1000:-0.75\n");
}

static void keeps_every_bit_of_a_value(void **state)
{
    static const uint64_t bits[] = {
        PRA_STALE_NAN_BITS, PRA_NORMAL_NAN_BITS, 0x7ff0000000000001, /* signalling NaN */
        0xfff8123456789abc,                     /* negative NaN with a payload */
        0x7fffffffffffffff, 0x7ff0000000000000, /* +Inf */
        0xfff0000000000000,                     /* -Inf */
        0x8000000000000000,                     /* -0.0 */
        0x0000000000000000, 0x0000000000000001, /* least denormal */
        0x800fffffffffffff,                     /* denormal */
        0x7fefffffffffffff,                     /* largest */
        0x3ff0000000000000,                     /* 1: SQLite keeps it as an integer */
        0x4330000000000001,                     /* 2^52 + 1 */
        0x43e0000000000000,                     /* 2^63 */
        0xc3e0000000000000,                     /* -2^63 */
        0x4330000000000000, 0x433fffffffffffff,  0x4340000000000001, 0xc2d0000000000000,
    };
    struct fixture *f = *state;
    const size_t n = sizeof bits / sizeof *bits;
    add_series(f, "a=1");
    for (size_t i = 0; i < n; i++)
        add_bits(f, (int64_t)i, bits[i]);
    write_ok(f);
    char *first = strdup(QUERY(f, "a=1"));
    add_series(f, "a=1"); /* the same bits again are no conflict */
    for (size_t i = 0; i < n; i++)
        add_bits(f, (int64_t)i, bits[i]);
    write_ok(f);
    f->dump_len = 0;
    put(f, "a=1");
    for (size_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, &bits[i], sizeof value);
        if (value != value)
            put(f, " %d:nan-%llx", (int)i, (unsigned long long)bits[i]);
        else
            put(f, " %d:%.17g", (int)i, value);
    }
    put(f, "\n");
    assert_string_equal(first, f->dump);
    free(first);
}

static void takes_any_timestamp(void **state)
{
    struct fixture *f = *state;
    add_series(f, "a=1");
    add_sample(f, INT64_MAX, 4);
    add_sample(f, INT64_MIN, 1);
    add_sample(f, -1, 2);
    add_sample(f, 0, 3);
    write_ok(f);
    assert_string_equal(QUERY(f, "a=1"), "a=1 -9223372036854775808:1 -1:2 0:3 "
                                         "9223372036854775807:4\n");
}

static void cuts_at_both_ends_inclusive(void **state)
{
    const char *const matchers[] = {"a=1", NULL};
    struct fixture *f = *state;
    add_series(f, "a=1");
    for (int t = 10; t <= 50; t += 10)
        add_sample(f, t, t);
    write_ok(f);
    assert_int_equal(query_range(f, 20, 40, matchers), PRA_OK);
    assert_string_equal(f->dump, "a=1 20:20 30:30 40:40\n");
    assert_int_equal(query_range(f, 31, 39, matchers), PRA_OK);
    assert_string_equal(f->dump, "");
    assert_int_equal(query_range(f, 40, 20, matchers), PRA_OK);
    assert_string_equal(f->dump, "");
}

static void an_identical_resend_changes_nothing(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        add_series(f, "a=1");
        add_sample(f, 1, 1);
        add_sample(f, 2, 2);
        add_sample(f, 2, 2);
        write_ok(f);
    }
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1 2:2\n");
}

static void another_value_for_a_time_is_refused_alone(void **state)
{
    struct fixture *f = *state;
    write_one(f, "a=1", 123, 1);
    add_series(f, "a=0");
    add_sample(f, 123, 7);
    add_series(f, "a=1");
    add_sample(f, 122, 5);
    add_sample(f, 123, 2);
    add_sample(f, 124, 6);
    assert_int_equal(write_request(f), PRA_OK);
    assert_int_equal(f->result.rejected[PRA_DATUM_SAMPLE], 1);
    assert_non_null(strstr(f->text, "duplicate sample for timestamp 123: stored 1, received 2"));
    assert_string_equal(QUERY(f, "a=~.*"), "a=0 123:7\na=1 122:5 123:1 124:6\n");
}

static void nan_conflicts_are_told_by_their_bits(void **state)
{
    struct fixture *f = *state;
    add_series(f, "a=1");
    add_bits(f, 1, PRA_STALE_NAN_BITS);
    add_bits(f, 2, 0);
    write_ok(f);
    add_series(f, "a=1");
    add_bits(f, 1, PRA_NORMAL_NAN_BITS);
    add_bits(f, 2, 0x8000000000000000);
    assert_int_equal(write_request(f), PRA_OK);
    assert_int_equal(f->result.rejected[PRA_DATUM_SAMPLE], 2);
    assert_non_null(strstr(f->text, "stored stale marker, received NaN 0x7ff8000000000001"));
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:nan-7ff0000000000002 2:0\n");
}

static void a_conflict_within_a_request_keeps_the_first(void **state)
{
    struct fixture *f = *state;
    add_series(f, "a=1");
    add_sample(f, 1, 1);
    add_sample(f, 1, 2);
    add_series(f, "a=1"); /* the same series once more */
    add_sample(f, 1, 3);
    add_sample(f, 2, 4);
    assert_int_equal(write_request(f), PRA_OK);
    assert_int_equal(f->result.rejected[PRA_DATUM_SAMPLE], 2);
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1 2:4\n");
}

static void order_does_not_matter(void **state)
{
    struct fixture *f = *state;
    static const int times[] = {50, 10, 40, 20, 30, 60, 5};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        write_one(f, "a=1", times[i], times[i]);
    assert_string_equal(QUERY(f, "a=1"), "a=1 5:5 10:10 20:20 30:30 40:40 50:50 60:60\n");
}

/* Two series in entries of one sample each, shuffled, every fourth with a second value. */
static void a_shuffled_request_is_stored_in_order(void **state)
{
    enum { N = 1009 };
    struct fixture *f = *state;
    for (int round = 0; round < 2; round++) { /* the second time merged into the first */
        for (int i = 0; i < N; i++) {
            int t = (i * 367 + 5) % N * 2 + round;
            add_series(f, t % 3 ? "a=1" : "a=2");
            add_sample(f, t, t);
            add_sample(f, t, t % 4 ? t : -1);
        }
        assert_int_equal(write_request(f), PRA_OK);
        assert_int_equal(strncmp(f->text, "refused: 505 samples: duplicate sample", 38) == 0,
                         !round);
    }
    char *expected = malloc(2 * N * 24), *at = expected;
    assert_non_null(expected);
    for (int series = 1; series <= 2; series++) {
        at += sprintf(at, "a=%d", series);
        for (int t = 0; t < 2 * N; t++)
            if ((t % 3 ? 1 : 2) == series)
                at += sprintf(at, " %d:%d", t, t);
        at += sprintf(at, "\n");
    }
    assert_string_equal(QUERY(f, "a=~1|2"), expected);
    free(expected);
}

static void tenants_do_not_see_each_other(void **state)
{
    struct fixture *f = *state;
    static const char *const tenants[] = {"", "one", "two", "one"};
    for (int i = 0; i < 3; i++) {
        f->context.tenant = cstr(tenants[i]);
        write_one(f, "a=1", 1, i);
    }
    f->context.tenant = (pra_str){"on\0e", 4};
    assert_string_equal(QUERY(f, "a=1"), "");
    for (int i = 0; i < 3; i++) {
        char expected[32];
        f->context.tenant = cstr(tenants[i]);
        snprintf(expected, sizeof expected, "a=1 1:%d\n", i);
        assert_string_equal(QUERY(f, "a=1"), expected);
        assert_string_equal(QUERY(f, "b="), expected);
        assert_string_equal(QUERY(f, "a=~.+"), expected);
    }
}

static void selects_by_every_kind_of_matcher(void **state)
{
    struct fixture *f = *state;
    add_series(f, "__name__=cpu,host=a1");
    add_sample(f, 1, 1);
    add_series(f, "__name__=cpu,host=a2,zone=x");
    add_sample(f, 1, 2);
    add_series(f, "__name__=cpu,host=b1,zone=y");
    add_sample(f, 1, 3);
    add_series(f, "__name__=mem,host=a1");
    add_sample(f, 1, 4);
    write_ok(f);
#define A1 "__name__=cpu,host=a1 1:1\n"
#define A2 "__name__=cpu,host=a2,zone=x 1:2\n"
#define B1 "__name__=cpu,host=b1,zone=y 1:3\n"
#define M1 "__name__=mem,host=a1 1:4\n"
    assert_string_equal(QUERY(f, "__name__=cpu"), A1 A2 B1);
    assert_string_equal(QUERY(f, "__name__=cpu", "host=a1"), A1);
    assert_string_equal(QUERY(f, "host=a1"), A1 M1);
    assert_string_equal(QUERY(f, "host=nowhere"), "");
    assert_string_equal(QUERY(f, "nowhere=x"), "");
    assert_string_equal(QUERY(f, "__name__=cpu", "nowhere=x"), "");
    /* a missing label is the empty value */
    assert_string_equal(QUERY(f, "zone="), A1 M1);
    assert_string_equal(QUERY(f, "zone!="), A2 B1);
    assert_string_equal(QUERY(f, "zone!=x"), A1 B1 M1);
    assert_string_equal(QUERY(f, "zone=~x|"), A1 A2 M1);
    assert_string_equal(QUERY(f, "zone!~x|"), B1);
    assert_string_equal(QUERY(f, "zone=~.*"), A1 A2 B1 M1);
    assert_string_equal(QUERY(f, "zone=~.+"), A2 B1);
    assert_string_equal(QUERY(f, "nowhere="), A1 A2 B1 M1);
    assert_string_equal(QUERY(f, "nowhere=", "nothing!=1"), A1 A2 B1 M1);
    /* sets, prefixes, and what needs a regular expression */
    assert_string_equal(QUERY(f, "host=~a2|b1|c9"), A2 B1);
    assert_string_equal(QUERY(f, "__name__=cpu", "host=~a1|b1"), A1 B1);
    assert_string_equal(QUERY(f, "host!~a1|b1"), A2);
    assert_string_equal(QUERY(f, "host=~a.*"), A1 A2 M1);
    assert_string_equal(QUERY(f, "host=~a.+", "__name__=~m.*"), M1);
    assert_string_equal(QUERY(f, "host=~.*1"), A1 B1 M1);
#ifdef PRA_HAVE_RE2
    assert_string_equal(QUERY(f, "host=~[ab]2"), A2);
    assert_string_equal(QUERY(f, "__name__!=mem", "host=~.1", "zone!~x"), A1 B1);
#endif
#undef A1
#undef A2
#undef B1
#undef M1
}

static void strings_may_hold_anything(void **state)
{
    static const pra_label rows[][2] = {
        {{STR("n"), STR("v")}, {STR("z"), STR("1")}},
        {{STR("n"), STR("v\0")}, {STR("z"), STR("1")}},
        {{STR("n"), STR("v\0w")}, {STR("z"), STR("1")}},
        {{STR("n"), STR("v\0\1\"\\\n\x7f")}, {STR("z"), STR("1")}},
        {{STR("n"), STR("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")}, {STR("z"), STR("1")}},
        {{STR("n"), STR("\xef\xbf\xbf")}, {STR("z"), STR("1")}},
        {{STR("n\0m"), STR("x")}, {STR("z"), STR("1")}},
        {{STR("\"a\\"), STR("x")}, {STR("z"), STR("1")}},
    };
    struct fixture *f = *state;
    const size_t n = sizeof rows / sizeof *rows;
    for (size_t i = 0; i < n; i++) {
        int64_t t = 1;
        double value = (double)i;
        assert_int_equal(pra_write_request_add_series(f->request, rows[i], 2), PRA_OK);
        assert_int_equal(pra_write_request_add_samples(f->request, &t, &value, NULL, 1), PRA_OK);
    }
    write_ok(f);
    assert_string_equal(QUERY(f, "z=1"), "\"a\\=x,z=1 1:7\n"
                                         "n=\\c3\\a4\\e2\\82\\ac\\f0\\9f\\98\\80,z=1 1:4\n"
                                         "n=\\ef\\bf\\bf,z=1 1:5\n"
                                         "n=v,z=1 1:0\n"
                                         "n=v\\00,z=1 1:1\n"
                                         "n=v\\00\\01\"\\\\0a\\7f,z=1 1:3\n"
                                         "n=v\\00w,z=1 1:2\n"
                                         "n\\00m=x,z=1 1:6\n");
    assert_string_equal(QUERY(f, "n=v"), "n=v,z=1 1:0\n");
    assert_string_equal(QUERY(f, "n=~v"), "n=v,z=1 1:0\n");
    assert_string_equal(QUERY(f, "n=~v.+w"), "n=v\\00w,z=1 1:2\n");
    assert_string_equal(QUERY(f, "n=~\xc3\xa4.*"),
                        "n=\\c3\\a4\\e2\\82\\ac\\f0\\9f\\98\\80,z=1 1:4\n");
}

static void seventy_thousand_samples(void **state)
{
    enum { SERIES = 70, SAMPLES = 1000 };
    struct fixture *f = *state;
    static int64_t times[SAMPLES];
    static double values[SAMPLES];
    for (int i = 0; i < SERIES; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "__name__=m,i=%02d", i);
        add_series(f, labels);
        for (int k = 0; k < SAMPLES; k++) {
            times[k] = k * 15000;
            values[k] = i + k / 7.0;
        }
        assert_int_equal(pra_write_request_add_samples(f->request, times, values, NULL, SAMPLES),
                         PRA_OK);
    }
    write_ok(f);
    QUERY(f, "__name__=m");
    assert_int_equal(count_of_char(f->dump, '\n'), SERIES);
    assert_int_equal(count_of_char(f->dump, ' '), SERIES * SAMPLES);
    const char *const last[] = {"i=69", NULL};
    assert_int_equal(query_range(f, 14985000, 14985000, last), PRA_OK);
    char expected[80];
    snprintf(expected, sizeof expected, "__name__=m,i=69 14985000:%.17g\n", 69 + 999 / 7.0);
    assert_string_equal(f->dump, expected);
}

/* A sink that is full ends the query with its own code. */
static void a_limit_of_the_sink_ends_the_query(void **state)
{
    struct fixture *f = *state;
    add_series(f, "a=1");
    for (int t = 0; t < 20; t++)
        add_sample(f, t, t);
    write_ok(f);
    pra_limits limits;
    assert_int_equal(pra_limits_init(&limits, sizeof limits), PRA_OK);
    limits.max_read_samples = 10;
    pra_read_request *request = new_query(0, 100, (const char *const[]){"a=1", NULL});
    pra_buffer *body;
    assert_int_equal(pra_buffer_new(NULL, &body), PRA_OK);
    assert_int_equal(ask_storage(&f->store, f->context.tenant, request, &limits, body, &f->err),
                     PRA_ERR_SAMPLE_LIMIT);
    pra_buffer_free(body);
    pra_read_request_free(request);
    assert_string_not_equal(QUERY(f, "a=1"), ""); /* and the store goes on */
}

static void metrics_are_in_the_text_format(void **state)
{
    struct fixture *f = *state;
    write_one(f, "a=1", 1, 1);
    write_one(f, "a=1", 1, 1);
    pra_buffer *out;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(f->store.vtbl->metrics(f->store.self, out), PRA_OK);
    assert_int_equal(pra_buffer_append(out, "", 1), PRA_OK);
    const char *text = pra_buffer_data(out);
    assert_ptr_equal(strstr(text, "# HELP pra_store_"), text);
    assert_non_null(strstr(text, "_duplicate_samples_total 1\n"));
    assert_non_null(strstr(text, "_refused_samples_total 0\n"));
    assert_non_null(strstr(text, "_series 1\n"));
    pra_buffer_free(out);
}

static void unknown_options_are_refused(void **state)
{
    struct fixture *f = *state;
    struct {
        pra_store_opts known;
        uint64_t later;
    } opts = {{.size = sizeof opts}, 1};
    pra_storage store;
    pra_error err = {0};
    f->store.vtbl->destroy(f->store.self);
    f->store.vtbl = NULL;
    assert_int_equal(open_store(NULL, &opts.known, &store, &err), PRA_ERR_UNSUPPORTED_OPTION);
    opts.known.size = 1;
    assert_int_equal(open_store(NULL, &opts.known, &store, &err), PRA_ERR_INVALID_ARG);
    opts.known.size = sizeof opts;
    opts.later = 0;
    assert_int_equal(open_store(NULL, &opts.known, &store, &err), PRA_OK);
    store.vtbl->destroy(store.self);
}

static void reopen_with_retention(struct fixture *f, uint64_t retention_ms)
{
    pra_store_opts opts = {.size = sizeof opts, .retention_ms = retention_ms};
    f->store.vtbl->destroy(f->store.self);
    f->store.vtbl = NULL;
    assert_int_equal(open_store(NULL, &opts, &f->store, &f->err), PRA_OK);
}

static void old_samples_go_by_themselves(void **state)
{
    struct fixture *f = *state;
    reopen_with_retention(f, 3000);
    add_series(f, "a=1");
    add_sample(f, 1, 1);
    add_sample(f, INT64_MAX, 2);
    add_series(f, "a=2");
    add_sample(f, 1, 1);
    write_ok(f);
    while (metric(f, "expired_samples_total") != 2 || metric(f, "series") != 1)
        usleep(1000);
    assert_string_equal(QUERY(f, "a!="), "a=1 9223372036854775807:2\n");
}

/* By a retention of their own, and a series that had nothing else with them. */
static void old_exemplars_go_by_themselves(void **state)
{
    struct fixture *f = *state;
    pra_store_opts opts = {.size = sizeof opts, .exemplar_retention_ms = 1000};
    f->store.vtbl->destroy(f->store.self);
    f->store.vtbl = NULL;
    assert_int_equal(open_store(NULL, &opts, &f->store, &f->err), PRA_OK);
    add_series(f, "a=1");
    add_sample(f, 1, 1);
    add_exemplar(f, "trace_id=x", 5, 1);
    add_exemplar(f, "trace_id=x", INT64_MAX, 1);
    add_series(f, "a=2");
    add_exemplar(f, "trace_id=x", 6, 1);
    write_ok(f);
    while (metric(f, "exemplars") != 1 || metric(f, "series") != 1)
        usleep(1000);
    assert_string_equal(QUERY(f, "a!="), "a=1 1:1\n");
}

/* The next sweep may be as far away as it likes. */
static void a_store_with_retention_stops_promptly(void **state)
{
    struct fixture *f = *state;
    reopen_with_retention(f, 3600000);
    write_one(f, "a=1", INT64_MAX, 1);
    assert_string_equal(QUERY(f, "a=1"), "a=1 9223372036854775807:1\n");
    reopen_with_retention(f, UINT64_MAX);
}

/* Every allocation of our own refused in turn: the write fails as a whole or is done, and what a
 * query then gives was written. Returns through *calls how many allocations a run wants. */
static void oom_write(struct fixture *f)
{
    for (int i = 0; i < 6; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "a=%d,b=%d", i, i % 2);
        add_series(f, labels);
        for (int t = 0; t < 6; t++)
            add_sample(f, t, t);
        add_histogram(f, 6, i);
        add_histogram(f, -1, i); /* late */
        add_exemplar(f, "trace_id=x", 6, 1);
    }
    add_metadata(f, PRA_METRIC_GAUGE, "a", "help", "");
}

/* Returns 1 if nothing failed. */
static int oom_run(struct fixture *f, struct oom_alloc *a)
{
    pra_alloc alloc = {a, oom_fn};
    int code = open_store(&alloc, &keep_all, &f->store, &f->err);
    if (code != PRA_OK) {
        assert_int_equal(code, PRA_ERR_NOMEM);
        f->store.vtbl = NULL;
        return 0;
    }
    const char *const matchers[] = {"b=~0|1", "a!=", NULL};
    oom_write(f);
    int wrote = write_request(f);
    assert_true(wrote == PRA_OK || wrote == PRA_ERR_RETRY);
    int read = query_range(f, INT64_MIN, INT64_MAX, matchers);
    assert_true(read == PRA_OK || read == PRA_ERR_RETRY);
    a->fail_at = SIZE_MAX; /* memory is back: the sender sends again */
    int all_well = wrote == PRA_OK && read == PRA_OK;
    oom_write(f);
    write_ok(f);
    assert_int_equal(query_range(f, INT64_MIN, INT64_MAX, matchers), PRA_OK);
    assert_int_equal(count_of_char(f->dump, '\n'), 6);
    assert_int_equal(count_of_char(f->dump, ' '), 48);
    assert_true(metric(f, "exemplars") == 6 && metric(f, "metadata") == 1);
    f->store.vtbl->destroy(f->store.self);
    f->store.vtbl = NULL;
    return all_well;
}

static void remove_store(void);

static void refused_memory_harms_nothing(void **state)
{
    struct fixture *f = *state;
    f->store.vtbl->destroy(f->store.self);
    f->store.vtbl = NULL;
    for (int mode = 0; mode < 2; mode++) {
        for (size_t n = 0;; n++) {
            struct oom_alloc a = {.fail_at = n, .from_then_on = mode};
            remove_store();
            oom_run(f, &a);
            assert_int_equal(a.live, 0);
            assert_true(n < 10000);
            if (a.calls <= n)
                break;
        }
    }
}

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#define STORE_BEHAVIOUR                                                                            \
    STORE_TEST(says_what_it_can_do), STORE_TEST(an_empty_store_answers),                           \
        STORE_TEST(gives_back_what_was_written), STORE_TEST(keeps_every_bit_of_a_value),           \
        STORE_TEST(takes_any_timestamp), STORE_TEST(cuts_at_both_ends_inclusive),                  \
        STORE_TEST(an_identical_resend_changes_nothing),                                           \
        STORE_TEST(another_value_for_a_time_is_refused_alone),                                     \
        STORE_TEST(nan_conflicts_are_told_by_their_bits),                                          \
        STORE_TEST(a_conflict_within_a_request_keeps_the_first),                                   \
        STORE_TEST(order_does_not_matter), STORE_TEST(a_shuffled_request_is_stored_in_order),      \
        STORE_TEST(tenants_do_not_see_each_other), STORE_TEST(selects_by_every_kind_of_matcher),   \
        STORE_TEST(strings_may_hold_anything), STORE_TEST(seventy_thousand_samples),               \
        STORE_TEST(histograms_come_back_in_order_with_samples),                                    \
        STORE_TEST(histograms_again_change_nothing_and_others_are_refused),                        \
        STORE_TEST(a_time_has_a_sample_or_a_histogram),                                            \
        STORE_TEST(late_histograms_are_stored_in_order), STORE_TEST(exemplars_are_kept_once),      \
        STORE_TEST(metadata_of_a_family_is_what_came_last),                                        \
        STORE_TEST(tenants_have_their_own_histograms),                                             \
        STORE_TEST(a_limit_of_the_sink_ends_the_query),                                            \
        STORE_TEST(metrics_are_in_the_text_format), STORE_TEST(unknown_options_are_refused),       \
        STORE_TEST(old_samples_go_by_themselves), STORE_TEST(old_exemplars_go_by_themselves),      \
        STORE_TEST(a_store_with_retention_stops_promptly),                                         \
        STORE_TEST(refused_memory_harms_nothing)

#endif
