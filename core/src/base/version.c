/* SPDX-License-Identifier: Apache-2.0 */
#include "pra.h"

const char *pra_version_cstr(void)
{
    return "0.1.0";
}
