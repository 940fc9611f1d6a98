/* SPDX-License-Identifier: Apache-2.0 */
#include "pra.h"

const char *pra_version_cstr(void)
{
    return PRA_PROJECT_VERSION; /* given by the build */
}

uint32_t pra_version_number(void)
{
    return PRA_VERSION_MAJOR * 10000 + PRA_VERSION_MINOR * 100 + PRA_VERSION_PATCH;
}
