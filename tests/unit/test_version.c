/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pra.h"

static void version_is_the_project_version(void **state)
{
    (void)state;
    assert_string_equal(pra_version_cstr(), PRA_PROJECT_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(version_is_the_project_version)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
