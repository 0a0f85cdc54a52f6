import AdminProtocol
import Hardware
import PolicyEngine

/// The firmware of the management core: boots, then serves the host and moves resources to where they are needed, for ever.
public struct OffloadManager: ~Copyable {
    static let version = (major: UInt16(1), minor: UInt8(0), patch: UInt8(0))
    static let build: StaticString = "outrigger-offload-mgr"

    let hw = FirmwareBus()
    let trace: TraceRing
    let counters: Counters
    let memory: SharedMemory
    let interrupts: Interrupts
    let watchdog: Watchdog
    let logs: Logs
    let partitions: Partitions
    var console: Console
    var queue: AdminQueue
    var events: EventRing
    var sampler: Sampler
    var policy: PolicyEngine
    let vault: PolicyVault
    var analysis: WorkloadAnalysis
    var use: UseMeter
    var mover: ComponentMover
    var audit: Audit
    var placement: Placement
    /// Of the service cores at the last look: busy cycles, and the cycle; and the interval that it was about.
    var placementMark = (busy: UInt64(0), cycle: UInt64(0))
    var placedInterval: UInt32 = 0
    /// Shares as the host has been told, in 1/1000, and owners of whom there may be news.
    private let announced: Table<UInt16>
    var unannounced = OwnerSet()
    /// Generation of the partition table of which the policies know.
    var knownGeneration: UInt32 = 0
    /// Owners of whom the host has reported a baseline.
    var reported = OwnerSet()
    /// SYSCTL.RESET_CAUSE at the start.
    private let resetCause: UInt32
    /// Cycles of work since boot.
    var busyCycles: UInt64 = 0
    /// Busy cycles and device cycle at the start of the period that `busyPermille` is about, and its result.
    var loadMark = (busy: UInt64(0), cycle: UInt64(0))
    var busyPermille: UInt16 = 0
    /// Microseconds in a window.
    var windowMicroseconds: UInt32 = 1000
    /// Commands that waited when a pass had done its share.
    private var hasBacklog = false
    private var nextTick: UInt64 = 0
    private var tickCycles: UInt64 = 0
    let cyclesPerMicrosecond: UInt32

    /// Commands that one pass of the event loop serves at most, so that a busy host doesn't keep the windows waiting.
    static let commandsPerPass = 8
    /// Events of changed shares that one pass posts at most.
    static let announcementsPerPass = 4
    /// Windows that may end while one pass is at work.
    static let toleratedWindows: UInt32 = 8
    static let tickMicroseconds: UInt32 = 10_000
    static let defaultWindowMicroseconds: UInt32 = 1000

    // MARK: Boot

    /// Checks the hardware's identity and sets everything up. Nothing is touched before the check, except the console and the mailbox's
    /// word of where the boot stands. A device that this firmware doesn't know ends in a fault record.
    public init(_ storage: Storage) {
        trace = TraceRing(storage.trace.baseAddress!, count: storage.trace.count)
        counters = Counters(storage.counters.baseAddress!)
        var arena = Arena(storage.arena)
        console = Console(hw.uart, in: &arena)
        policy = PolicyEngine(in: &arena)
        vault = PolicyVault(storage.kept)
        analysis = WorkloadAnalysis(hw.wa, in: &arena)
        use = UseMeter(in: &arena)
        audit = Audit(hw.audit, in: &arena)
        placement = Placement(in: &arena)
        announced = arena.table(of: PolicyEngine.owners, repeating: 0)
        let system = hw.sysctl
        resetCause = system.resetCause.rawValue
        trace.record(TraceRing.Boot(causes: resetCause, starts: system.resetCount.count), at: Hart.cycle)
        hw.mailbox.firmware = .init(state: .booting)
        hw.mailbox.firmwareVersion = .init(
            patch: UInt32(Self.version.patch), minor: UInt32(Self.version.minor), major: UInt32(Self.version.major))
        guard Self.knows(system) else {
            hw.uart.sendNow("boot: this is not a device that this firmware was built for\n")
            Hart.stop()
        }

        memory = SharedMemory(address: UInt32(hw.shared.address), byteCount: system.sharedSize.bytes)
        Protection.enforce(sharedBytes: memory.byteCount)
        cyclesPerMicrosecond = max(system.clock.khz / 1000, 1)
        interrupts = Interrupts(hw.plic, hw.aclint)
        watchdog = Watchdog(hw.wdt)
        logs = Logs(hw.log, memory: memory)
        partitions = Partitions(hw.rm)
        queue = AdminQueue(memory: memory)
        events = EventRing(hw.mailbox, memory: memory)
        sampler = Sampler(hw.wa)
        mover = ComponentMover(
            hw.vic, memory: memory, partitions: partitions, cyclesPerMicrosecond: cyclesPerMicrosecond, in: &arena)

        console.log("outrigger offload manager, boot", system.resetCount.count)
        console.log("reset cause", resetCause)
        system.write(SYSCTL.RESET_CAUSE(rawValue: resetCause))
        for resource in Resource.all { policy.setCapacity(partitions.total(of: resource), of: resource) }
        let settings = Settings(system)
        let pinned = settings.pinned
        for owner in 0..<PolicyEngine.owners {
            let (share, limit) = (partitions.guarantee(of: owner), partitions.limit(of: owner))
            policy.set(
                share, of: owner, weight: partitions.weight(of: owner), most: partitions.mostShare(limit: limit),
                pin: pinned.contains(owner))
            announced[owner] = UInt16(truncatingIfNeeded: share)
            let floor = partitions.floor(of: owner)
            var terms = ServiceTerms()
            terms.leastPermille = UInt16(truncatingIfNeeded: floor.permille)
            terms.leastCores = UInt8(truncatingIfNeeded: floor.cores)
            terms.leastMemoryBlocks = UInt16(truncatingIfNeeded: floor.blocks)
            policy.setTerms(terms, of: owner)
        }
        readGrants()
        // A restart keeps the length that was set.
        let isFirstStart = SYSCTL.RESET_CAUSE(rawValue: resetCause).powerOn || !Sampler.lengths.contains(sampler.length)
        sampler.start(length: isFirstStart ? Self.defaultWindowMicroseconds &* cyclesPerMicrosecond : sampler.length)
        var parameters = settings.policy
        let lost = vault.restore(to: &policy)
        if lost != 0 { console.log("uploaded policies lost", lost) }
        if !policy.isValid(parameters) { parameters.policy = PolicyNumber.fair }
        setPolicy(parameters)
        audit.enableInterrupts()
        logs.enableInterrupts()
        hw.mailbox.intrEnable = .init(adminQueue: true, configuration: true, hostReset: true)
        tickCycles = UInt64(Self.tickMicroseconds) * UInt64(cyclesPerMicrosecond)
        let now = interrupts.now
        loadMark.cycle = now
        nextTick = now &+ tickCycles
        interrupts.setTimer(nextTick)
        watchdog.start()
        interrupts.discardStale()
        configureMailbox()
        hw.mailbox.firmware = .init(state: .ready)
        console.log("ready, virtual functions", system.config.vfs)
    }

    /// Whether this is hardware that the firmware was built for.
    static func knows(_ system: SYSCTL) -> Bool {
        // OUTR, and a memory map of the sizes that the sections and the PMP ladder assume.
        system.magic.value == 0x4f55_5452 && system.version.major == 1 && system.sramSize.bytes >= 0x40_0000
            && (0x1_0000...0x100_0000).contains(system.sharedSize.bytes) && system.sharedSize.bytes & 0xffff == 0
    }

    // MARK: Event loop

    /// One round of the event loop: sleeps until there is something to do, and does it.
    public mutating func step() {
        if !hasBacklog { interrupts.wait() }
        pass()
    }

    /// Serves everything that is pending.
    @inline(never)  // A symbol of its own, where a debugger can stop once in a round.
    public mutating func pass() {
        let start = Hart.cycle
        counters.count(.passes)
        while let source = interrupts.claim() {
            serve(source)
            interrupts.complete(source)
        }
        if hasBacklog { serveQueue() }
        if Hart.timerPending { tick() }
        announceShares()
        announceMoves()
        hw.mailbox.write(MAILBOX.HEARTBEAT(beat: true))
        busyCycles &+= UInt64(Hart.cycle &- start)
    }

    private mutating func serve(_ source: Interrupts.Source) {
        switch source {
        case .uart: console.drain()
        case .analyzer: sampleWindow()
        case .mailbox: serveMailbox()
        case .logging: logs.service(&events, at: interrupts.now)
        case .audit: audit.service(&events)
        case .components: mover.service(at: interrupts.now)
        case .watchdog, .fabric, .resources, .system: counters.count(.strayInterrupts)
        }
    }

    private mutating func serveMailbox() {
        let causes = hw.mailbox.intrState
        hw.mailbox.write(causes)
        if causes.configuration || causes.hostReset { configureMailbox() }
        if causes.adminQueue { serveQueue() }
    }

    /// Takes over the rings that the host has set up.
    private mutating func configureMailbox() {
        let mailbox = hw.mailbox
        if events.configure() { introduce() }
        let configuration = mailbox.queue
        guard configuration.enabled else { queue.disable(); return }
        let isUsable = queue.enable(
            size: configuration.size, descriptors: mailbox.queueDesc.address, available: mailbox.queueAvail.address,
            used: mailbox.queueUsed.address)
        // Commands that were made available before the firmware looked have rung their doorbell already.
        if isUsable { hasBacklog = true } else { mailbox.write(MAILBOX.QUEUE_ERROR(broken: true)) }
    }

    /// What a host that begins to listen for events should know: that the firmware has started, and why; a fault that it hasn't read.
    private mutating func introduce() {
        let now = interrupts.now
        events.post(.firmwareStarted, at: now, UInt64(hw.mailbox.firmwareVersion.rawValue), UInt64(resetCause))
        guard hw.mailbox.fault.valid else { return }
        let cause = hw.mailbox.faultCause.value
        events.post(.fault, severity: .error, at: now, UInt64(cause), UInt64(hw.mailbox.faultPc.value))
    }

    private mutating func serveQueue() {
        hasBacklog = false
        var served = 0
        serving: while true {
            guard served < Self.commandsPerPass else { hasBacklog = true; break }
            switch queue.take() {
            case .empty: break serving
            case .chain(let chain):
                queue.complete(chain, written: serve(chain))
                served &+= 1
            case .broken(let defect, let place):
                counters.count(.queueDefects)
                trace.record(TraceRing.QueueBroken(defect: defect, place: place), at: Hart.cycle)
                console.log("admin queue broken: defect, place", defect.rawValue, place)
                events.post(.queueError, severity: .error, at: interrupts.now, UInt64(defect.rawValue), UInt64(place))
                queue.disable()
                hw.mailbox.write(MAILBOX.QUEUE_ERROR(broken: true))
                break serving
            }
        }
        if served != 0, !queue.isSilenced { hw.mailbox.write(MAILBOX.NOTIFY(adminQueue: true)) }
    }

    // MARK: Windows and policy

    @inline(never)  // Profiles name it.
    private mutating func sampleWindow() {
        let start = Hart.cycle
        let missedBefore = sampler.missed
        guard let window = sampler.sample(into: &policy) else { return }
        counters.count(.windows)
        if sampler.missed != missedBefore {
            counters.count(.windowsMissed, by: sampler.missed &- missedBefore)
            trace.record(TraceRing.WindowsMissed(count: sampler.missed &- missedBefore), at: start)
        }
        let isDue = policy.endWindow(active: window.active)
        analyseWorkload(window.active, isBusy: isDue)
        let cycles = Hart.cycle &- start
        counters[.windowCyclesMax] = max(counters[.windowCyclesMax], cycles)
        trace.record(TraceRing.Window(number: window.number, cycles: cycles), at: start)
        if isDue { reallocateResources() }
        placeComponents()
    }

    /// One owner's turn of the analysis, if the window hasn't been dear already.
    @inline(never)  // Profiles name it.
    private mutating func analyseWorkload(_ active: OwnerSet, isBusy: Bool) {
        let start = Hart.cycle
        let manager = hw.rm
        let blockPages = UInt32(1) &<< (manager.memoryCapacity.blockShift &- 12)
        let owner = analysis.endWindow(active: active, isBusy: isBusy) { manager.activeRegion[$0].blocks &* blockPages }
        guard let owner else { return }
        let cycles = Hart.cycle &- start
        counters.count(.analyses)
        counters[.analysisCyclesMax] = max(counters[.analysisCyclesMax], cycles)
        counters.count(.forecastCycles, by: analysis.takeForecastCycles())
        trace.record(TraceRing.Analysis(owner: UInt32(truncatingIfNeeded: owner), cycles: cycles), at: start)
        policy.setForecast(analysis.forecast(of: owner), of: owner)
    }

    /// Tells the host of shares that have changed, a few in each pass: of what happens in between, it hears the sum.
    private mutating func announceShares() {
        guard !unannounced.isEmpty, events.isEnabled else { return }
        let now = interrupts.now
        let generation = UInt64(partitions.generation)
        var posted = 0
        while posted < Self.announcementsPerPass, let owner = unannounced.popFirst() {
            let share = UInt16(truncatingIfNeeded: policy.share(of: owner))
            let before = announced[owner]
            guard share != before else { continue }
            announced[owner] = share
            events.post(.partitionChanged, owner: owner, at: now, generation, UInt64(before) | UInt64(share) << 16)
            posted &+= 1
        }
    }

    /// Sets the length of the Workload Analyzer's windows.
    /// - Returns: false, with nothing changed, if it is out of range.
    mutating func setWindow(_ cycles: UInt64) -> Bool {
        guard let length = UInt32(exactly: cycles), Sampler.lengths.contains(length) else { return false }
        sampler.setLength(length)
        setPolicy(policy.parameters)
        return true
    }

    // MARK: Housekeeping

    /// Every ten milliseconds: the watchdog, if all is well, and the load.
    private mutating func tick() {
        let now = interrupts.now
        guard now >= nextTick else { return }
        nextTick = now &+ tickCycles
        interrupts.setTimer(nextTick)
        counters.count(.ticks)
        if isHealthy() { watchdog.pat() }
        mover.tick(at: now)
        audit.tick(&events)
        let elapsed = now &- loadMark.cycle
        if elapsed >= tickCycles &* 100 {
            busyPermille = UInt16(clamping: (busyCycles &- loadMark.busy) &* 1000 / elapsed)
            loadMark = (busyCycles, now)
        }
    }

    /// Whether the firmware still does its work: no more windows have ended unseen than a long command may hold up.
    private func isHealthy() -> Bool { hw.wa.windowNumber.count &- sampler.latest <= Self.toleratedWindows }
}
