/* SPDX-License-Identifier: Apache-2.0 */
/* Random requests, and tables made of what was exported. Include after cmocka.h. */
#ifndef TESTS_UNIT_ARROW_FIXTURE_H
#define TESTS_UNIT_ARROW_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "pra_arrow.h"
#include "support/text.h"
#include "unit/write_fixture.h"

/* A label set of up to five labels, sorted, from few strings; and the memory of its text. */
struct random_labels {
    pra_label labels[5];
    size_t count;
    char text[5][2][24];
};

static inline void draw_labels(uint64_t *random, struct random_labels *out)
{
    static const char *const names[] = {"__name__", "a", "instance", "job", "zone"};
    out->count = 0;
    for (size_t i = 0; i < 5; i++) {
        if (i > 0 && random_below(random, 3) == 0)
            continue;
        char(*text)[24] = out->text[out->count];
        (void)snprintf(text[0], sizeof(text[0]), "%s", names[i]);
        (void)snprintf(text[1], sizeof(text[1]), "v%d", (int)random_below(random, 9));
        out->labels[out->count++] =
            (pra_label){{text[0], strlen(text[0])}, {text[1], strlen(text[1])}};
    }
}

static inline pra_columns view_of(const pra_write_request *req)
{
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    return c;
}

/* Up to 20 series of up to 8 samples at few times, in any order, with exemplars and metadata. */
static inline pra_write_request *random_request(uint64_t *random)
{
    pra_write_request *req = new_request(NULL);
    const size_t count = random_below(random, 20);
    for (size_t i = 0; i < count; i++) {
        struct random_labels labels;
        draw_labels(random, &labels);
        assert_int_equal(pra_write_request_add_series(req, labels.labels, labels.count), PRA_OK);
        for (size_t n = random_below(random, 8); n > 0; n--) {
            const int64_t time = (int64_t)random_below(random, 12) - 6;
            const int64_t start = random_below(random, 4) == 0 ? time - 1 : 0;
            const double value = (double)random_below(random, 100);
            assert_int_equal(pra_write_request_add_samples(req, &time, &value, &start, 1), PRA_OK);
        }
        if (random_below(random, 3) == 0) {
            draw_labels(random, &labels);
            assert_int_equal(
                pra_write_request_add_exemplar(req, labels.labels, labels.count, 5, 0.5), PRA_OK);
        }
        if (random_below(random, 3) == 0)
            assert_int_equal(
                pra_write_request_add_metadata(req, PRA_METRIC_INFO, STR(""), STR("h"), STR("")),
                PRA_OK);
    }
    return req;
}

/* The same as a message of 2.0, decoded: with symbols. *message must live longer. */
static inline pra_write_request *as_v2(pra_write_request *req, struct text *message)
{
    pra_write_request *out = new_request(NULL);
    *message = encoding_of(req, PRA_WRITE_V2);
    pra_write_request_free(req);
    assert_int_equal(
        pra_write_request_decode(out, PRA_WRITE_V2, message->data, message->len, NULL, NULL),
        PRA_OK);
    return out;
}

#endif
