/* SPDX-License-Identifier: Apache-2.0 */
/* The part of store_behaviour.h about histograms, exemplars and metadata. */
#ifndef TESTS_STORE_HISTOGRAMS_H
#define TESTS_STORE_HISTOGRAMS_H

#include <math.h>

#include "store_fixture.h"

static void histograms_come_back_in_order_with_samples(void **state)
{
    struct fixture *f = *state;
    add_series(f, "__name__=h");
    add_histogram(f, 10, 4);
    add_histogram(f, 30, -2.5);
    add_histogram(f, 50, NAN);
    add_sample(f, 20, 1);
    add_sample(f, 40, 2);
    add_series(f, "__name__=only");
    add_histogram(f, INT64_MIN, 7);
    add_histogram(f, INT64_MAX, 8);
    write_ok(f);
    assert_string_equal(QUERY(f, "__name__=h"),
                        "__name__=h 10:h4/2 20:1 30:hf2.5/-1.25 40:2 50:h0/nan-7ff0000000000002\n");
    assert_string_equal(QUERY(f, "__name__=only"),
                        "__name__=only -9223372036854775808:h7/3.5 9223372036854775807:h8/4\n");
    const char *const matchers[] = {"__name__=h", NULL};
    assert_int_equal(query_range(f, 20, 30, matchers), PRA_OK);
    assert_string_equal(f->dump, "__name__=h 20:1 30:hf2.5/-1.25\n");
    assert_int_equal(query_range(f, 31, 39, matchers), PRA_OK);
    assert_string_equal(f->dump, "");
}

static void histograms_again_change_nothing_and_others_are_refused(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        add_series(f, "a=1");
        add_histogram(f, 1, 4);
        add_histogram(f, 1, 4);
        add_histogram(f, 2, NAN);
        write_ok(f);
    }
    add_series(f, "a=0");
    add_histogram(f, 1, 5);
    add_series(f, "a=1");
    add_histogram(f, 1, 5);
    add_histogram(f, 2, -1);
    add_histogram(f, 3, 6);
    assert_int_equal(write_request(f), PRA_OK);
    assert_int_equal(f->result.rejected[PRA_DATUM_HISTOGRAM], 2);
    assert_non_null(strstr(f->text, "duplicate histogram for timestamp 1: "
                                    "stored a histogram, received another one"));
    assert_string_equal(QUERY(f, "a!="),
                        "a=0 1:h5/2.5\na=1 1:h4/2 2:h0/nan-7ff0000000000002 3:h6/3\n");
    assert_true(metric(f, "inserted_histograms_total") == 4);
    assert_true(metric(f, "duplicate_histograms_total") == 4);
    assert_true(metric(f, "refused_histograms_total") == 2);
}

static void a_time_has_a_sample_or_a_histogram(void **state)
{
    struct fixture *f = *state;
    add_series(f, "a=1");
    add_sample(f, 1, 1.5);
    add_histogram(f, 1, 4); /* within a request */
    add_histogram(f, 2, 4);
    assert_int_equal(write_request(f), PRA_OK);
    assert_int_equal(f->result.rejected[PRA_DATUM_HISTOGRAM], 1);
    assert_non_null(strstr(f->text, "duplicate histogram for timestamp 1: "
                                    "stored 1.5, received a histogram"));
    add_series(f, "a=1");
    add_sample(f, 2, 7); /* the histogram is there */
    add_sample(f, 3, 8);
    add_histogram(f, 1, 4); /* the sample is there */
    assert_int_equal(write_request(f), PRA_OK);
    assert_int_equal(f->result.rejected[PRA_DATUM_SAMPLE], 1);
    assert_int_equal(f->result.rejected[PRA_DATUM_HISTOGRAM], 1);
    assert_non_null(strstr(f->text, "duplicate sample for timestamp 2: "
                                    "stored a histogram, received 7"));
    assert_string_equal(QUERY(f, "a=1"), "a=1 1:1.5 2:h4/2 3:8\n");
}

/* Backwards, samples and histograms in turn, more than a piece of each. */
static void late_histograms_are_stored_in_order(void **state)
{
    enum { N = 300 };
    struct fixture *f = *state;
    char *expected = malloc(N * 24), *at = expected;
    assert_non_null(expected);
    for (int round = 0; round < 2; round++) {
        add_series(f, "a=1");
        for (int i = N - 2 + round; i >= 0; i -= 2) {
            if (i % 3)
                add_histogram(f, i, i);
            else
                add_sample(f, i, i);
        }
        write_ok(f);
    }
    at += sprintf(at, "a=1");
    for (int i = 0; i < N; i++)
        at += i % 3 ? sprintf(at, " %d:h%d/%.17g", i, i, i / 2.0) : sprintf(at, " %d:%d", i, i);
    sprintf(at, "\n");
    assert_string_equal(QUERY(f, "a=1"), expected);
    for (int i = 0; i < N; i++) { /* each of the other kind: refused, each */
        add_series(f, "a=1");
        if (i % 3)
            add_sample(f, i, i);
        else
            add_histogram(f, i, i);
    }
    assert_int_equal(write_request(f), PRA_OK);
    assert_int_equal(f->result.rejected[PRA_DATUM_SAMPLE], N * 2 / 3);
    assert_int_equal(f->result.rejected[PRA_DATUM_HISTOGRAM], N / 3);
    assert_string_equal(QUERY(f, "a=1"), expected);
    free(expected);
}

/* ---- exemplars and metadata */

static void exemplars_are_kept_once(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        add_series(f, "a=1");
        add_sample(f, 5, 5);
        add_exemplar(f, "trace_id=x", 5, 1);
        add_exemplar(f, "trace_id=y", 4, 1); /* any order */
        add_exemplar(f, "trace_id=x", 5, 2);
        add_exemplar(f, "trace_id=x", 6, 1);
        add_exemplar(f, "trace_id=x", 5, 1);
        add_exemplar(f, "", 5, 1);
        add_series(f, "a=2"); /* nothing else */
        add_exemplar(f, "trace_id=x", 5, 1);
        write_ok(f);
    }
    assert_true(metric(f, "exemplars") == 6);
    assert_true(metric(f, "inserted_exemplars_total") == 6);
    assert_true(metric(f, "duplicate_exemplars_total") == 8);
    assert_string_equal(QUERY(f, "a!="), "a=1 5:5\n");
}

static void metadata_of_a_family_is_what_came_last(void **state)
{
    struct fixture *f = *state;
    add_metadata(f, PRA_METRIC_COUNTER, "a", "help", "");
    add_metadata(f, PRA_METRIC_COUNTER, "a", "help", "");
    add_metadata(f, PRA_METRIC_GAUGE, "b", "", "seconds");
    write_ok(f);
    assert_true(metric(f, "metadata") == 2);
    add_metadata(f, PRA_METRIC_GAUGE, "a", "help!", "bytes");
    f->context.tenant = cstr("other");
    write_ok(f);
    assert_true(metric(f, "metadata") == 3);
    f->context.tenant = cstr("");
    add_metadata(f, PRA_METRIC_GAUGE, "b", "x", "seconds");
    add_series(f, "__name__=c,a=1");
    add_sample(f, 1, 1);
    add_metadata(f, PRA_METRIC_HISTOGRAM, "", "of c", ""); /* as in remote write 2.0 */
    write_ok(f);
    assert_true(metric(f, "metadata") == 4);
}

static void tenants_have_their_own_histograms(void **state)
{
    struct fixture *f = *state;
    static const char *const tenants[] = {"", "one", "two"};
    for (int i = 0; i < 3; i++) {
        f->context.tenant = cstr(tenants[i]);
        add_series(f, "a=1");
        add_histogram(f, 1, i);
        add_exemplar(f, "trace_id=x", 1, 1);
        write_ok(f);
    }
    for (int i = 0; i < 3; i++) {
        char expected[64];
        f->context.tenant = cstr(tenants[i]);
        snprintf(expected, sizeof expected, "a=1 1:h%d/%.17g\n", i, i / 2.0);
        assert_string_equal(QUERY(f, "a=1"), expected);
    }
    assert_true(metric(f, "exemplars") == 3);
}

#endif
