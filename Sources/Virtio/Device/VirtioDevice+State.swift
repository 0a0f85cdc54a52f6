import Simulation

extension VirtioDevice: ArchivedModel {
    /// Links and service cores, which the type's requests wait for, have sections of their own.
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("fn\(configuration.component).\(type.name)", version: 4) { (archive, version) throws(SnapshotError) in
            try archive.raw(&state.status)
            try archive.raw(&state.driverFeatures)
            try archive.flag(&state.isLegacy)
            if version >= 2 { try archive.flag(&state.hasFrontEnd) }
            try archive.require(
                !state.status.contains(.featuresOK)
                    || (state.isLegacy ? state.driverFeatures.isSubset(of: legacyFeatures) : areAcceptable(state.driverFeatures)),
                "expected features of 0x\(String(offeredFeatures.rawValue, radix: 16)), "
                    + "found 0x\(String(state.driverFeatures.rawValue, radix: 16))")
            try archive.integer(&state.configurationGeneration)
            let features = state.driverFeatures
            let maximumSize = state.hasFrontEnd ? Self.largestFrontEndQueue : configuration.maximumQueueSize
            try state.queues.archive(&archive, version: version, features: features, maximumSize: maximumSize)
            try archive.optional(&state.lastFailure, blank: .blank) { (archive, failure) throws(SnapshotError) in
                try failure.archive(&archive, queues: queueCount)
            }
            try archive.flag(&state.isBusy)
            if version >= 3 {
                let mask: UInt64 = .max >> UInt64(64 - queueCount)
                try archive.flag(&state.awaited.reset)
                try archive.integer(&state.awaited.queueResets, in: 0...mask)
                try archive.integer(&state.awaited.enables, in: 0...mask)
            }
            if version >= 4 { try archive.integer(&state.nextPoll) }
            if archive.isLoading { setPatience() }
            try type.archive(&archive)
            try deadline.archive(&archive)
        }
    }
}
