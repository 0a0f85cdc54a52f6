import Hardware

/// Restarts a firmware that has stopped doing its work: the bark, as a trap, puts down where it hung; the bite restarts it.
public struct Watchdog {
    /// Ticks of a microsecond. A pat comes every ten milliseconds.
    static let bark: UInt32 = 50_000
    static let bite: UInt32 = 60_000

    private let block: WDT

    public init(_ block: WDT) { self.block = block }

    /// Arms it, and locks it against accidents.
    public func start() {
        block.write(WDT.UNLOCK(key: 0x1acc_e551))
        block.bark = .init(ticks: Self.bark)
        block.bite = .init(ticks: Self.bite)
        block.ctrl = .init(enable: true, biteEnable: true)
        block.write(WDT.INTR_STATE(bark: true))  // One from before a restart.
        block.intrEnable = .init(bark: true)
        block.write(WDT.UNLOCK(key: 0))
        pat()
    }

    public func pat() { block.write(WDT.PAT(key: 0x600d_0d06)) }
}
