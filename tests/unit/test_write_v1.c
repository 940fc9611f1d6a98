/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/failing_alloc.h"

static void decodes_a_series(void **state)
{
    static const uint8_t message[] = "\x0a\x1a"
                                     "\x0a\x09\x0a\x01"
                                     "a\x12\x04"
                                     "b\0cd"
                                     "\x12\x0d\x09\0\0\0\0\0\0\xf8\x3f\x10\x85\x88\x01";
    (void)state;
    pra_write_request *req;
    pra_error err = {0};
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_new(NULL, &req), PRA_OK);
    assert_int_equal(
        pra_write_request_decode(req, PRA_WRITE_V1, message, sizeof(message) - 1, NULL, &err),
        PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.series_count, 1);
    assert_int_equal(c.label_count, 1);
    assert_int_equal(c.labels[0].value.len, 4);
    assert_memory_equal(c.base + c.labels[0].value.off, "b\0cd", 4);
    assert_int_equal(c.sample_offsets[1], 1);
    assert_int_equal(c.timestamps_ms[0], 5 + 8 * 128 + 16384);
    assert_true(c.values[0] == 1.5);
    pra_write_request_free(req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decodes_a_series)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
