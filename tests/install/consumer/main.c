/* SPDX-License-Identifier: Apache-2.0 */
#include <pra.h>
#include <stdio.h>

int main(void)
{
    printf("libpra %s\n", pra_version_cstr());
    return pra_version_number() !=
           PRA_VERSION_MAJOR * 10000 + PRA_VERSION_MINOR * 100 + PRA_VERSION_PATCH;
}
