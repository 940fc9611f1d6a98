/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/write_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_write(PRA_WRITE_V2, data, size);
    return 0;
}
