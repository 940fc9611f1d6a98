/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "pra.h"

static void version_is_the_project_version(void **state)
{
    (void)state;
    assert_string_equal(pra_version_cstr(), PRA_PROJECT_VERSION);
}

static void header_and_number_agree_with_the_text(void **state)
{
    char text[32];
    (void)state;
    (void)snprintf(text, sizeof text, "%d.%d.%d", PRA_VERSION_MAJOR, PRA_VERSION_MINOR,
                   PRA_VERSION_PATCH);
    assert_string_equal(pra_version_cstr(), text);
    assert_int_equal(pra_version_number(),
                     PRA_VERSION_MAJOR * 10000 + PRA_VERSION_MINOR * 100 + PRA_VERSION_PATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_is_the_project_version),
        cmocka_unit_test(header_and_number_agree_with_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
