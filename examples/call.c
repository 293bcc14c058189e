/* Calls a mechanism that attnc compiled, from C:
 *
 *     attnc specs/identity.att --size B=2,T=3,D=4 -o identity.o        # writes identity.h too
 *     cc -I. examples/call.c identity.o -ldnnl -lgomp -lm -o call && ./call
 *
 * Every tensor is filled with k/10 for its k-th element modulo 10; prints the output. */
#include "identity.h"

#include <stdio.h>
#include <stdlib.h>

int main(void) {
    enum { INPUT = 2 * 3 * 4, WEIGHTS = 4 * 4 };
    float x[INPUT], weights[WEIGHTS], y[INPUT];
    for (int k = 0; k < INPUT; k++)
        x[k] = (float)(k % 10) / 10;
    for (int k = 0; k < WEIGHTS; k++)
        weights[k] = (float)(k % 10) / 10;
    const void *tensors[IDENTITY_TENSORS];
    void *outputs[IDENTITY_OUTPUTS];
    tensors[IDENTITY_TENSOR_x] = x;
    tensors[IDENTITY_TENSOR_W] = weights;
    outputs[IDENTITY_OUTPUT_y] = y;
    void *workspace            = aligned_alloc(64, IDENTITY_WORKSPACE_BYTES + 64);
    if (!workspace)
        return 3;
    int status = identity(tensors, outputs, workspace, 1);
    free(workspace);
    for (int k = 0; status == 0 && k < INPUT; k++)
        printf("%.6g\n", y[k]);
    return status;
}
