/* Initial values of tensors, from a seed and the tensor's name: the same name, whatever mechanism it stands
 * in, draws the same numbers, so variants start alike wherever shapes agree. */
#ifndef ATTNC_INITIALISE_H
#define ATTNC_INITIALISE_H

#include "graph.h"

/* Element `element` of tensor t. Parameters and states by their initialiser; float inputs N(0,1); integer inputs
 * uniform below t->below. Values are exact in float, so float and double runs start alike. */
double initial_value(const tensor *t, uint64_t seed, uint64_t element);

#endif
