#include "CFUSESession.h"
