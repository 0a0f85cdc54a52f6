#include "CNamespace.h"
