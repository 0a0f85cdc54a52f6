/// The version of the protocol that these sources speak.
public enum AdminProtocolVersion {
    public static let major: UInt16 = 1
    /// Raised by compatible additions: new opcodes, new meaning for reserved bytes.
    public static let minor: UInt16 = 2
}

/// What a command asks for.
public enum AdminOpcode: UInt16, Sendable {
    case listOpcodes = 0x0000
    case identify = 0x0001
    case getFeature = 0x0002
    case setFeature = 0x0003
    case reportBaseline = 0x0010
    case getPolicy = 0x0020
    case setPolicy = 0x0021
    case describePolicy = 0x0022
    case tunePolicy = 0x0023
    case getSelection = 0x0024
    case readDecisions = 0x0025
    case getAllocation = 0x0030
    case setAllocation = 0x0031
    case releaseAllocation = 0x0032
    case getTerms = 0x0033
    case setTerms = 0x0034
    case startLog = 0x0040
    case stopLog = 0x0041
    case harvestLog = 0x0042
    case getStatistics = 0x0050
    case getLatency = 0x0051
    case getAnalysis = 0x0052
    case migrateComponent = 0x0062
    case getComponent = 0x0065
    case getPlacement = 0x0066
    case setPlacement = 0x0067
    case uploadPolicy = 0x0070
    case installPolicy = 0x0071
    case removePolicy = 0x0072
    case getAudit = 0x00a0
    case setKey = 0x00a1

    /// Bytes of data that have to follow the command header.
    public var dataByteCount: Int {
        switch self {
        case .listOpcodes, .identify, .getPolicy, .getSelection, .getAllocation, .releaseAllocation, .getTerms, .stopLog, .harvestLog,
            .getLatency, .getComponent, .getPlacement: 0
        case .migrateComponent: ComponentMove.byteCount
        case .getFeature: FeatureSelect.byteCount
        case .setFeature: FeatureValue.byteCount
        case .reportBaseline: Baseline.byteCount
        case .setPolicy: PolicyParameters.byteCount
        case .setAllocation: Allocation.byteCount
        case .setTerms: ServiceTerms.byteCount
        case .startLog: LogRequest.byteCount
        case .getStatistics, .getAnalysis, .getAudit: StatisticsRequest.byteCount
        case .readDecisions: DecisionLogRequest.byteCount
        case .describePolicy, .removePolicy: PolicySelect.byteCount
        case .tunePolicy: PolicyValues.byteCount
        case .uploadPolicy: PolicyPiece.byteCount
        case .installPolicy: PolicyInstallation.byteCount
        case .setKey: OwnerKey.byteCount
        case .setPlacement: PlacementParameters.byteCount
        }
    }

    /// Bytes of result that the command needs room for; of the statistics page, the header.
    public var resultByteCount: Int {
        switch self {
        case .setFeature, .reportBaseline, .setPolicy, .tunePolicy, .setAllocation, .releaseAllocation, .setTerms: 0
        case .uploadPolicy, .removePolicy, .migrateComponent, .setKey, .setPlacement: 0
        case .getComponent: ComponentStatus.byteCount
        case .getPlacement: PlacementStatus.byteCount
        case .installPolicy: PolicyRefusal.byteCount
        case .describePolicy: PolicyEntry.byteCount
        case .listOpcodes: OpcodeList.byteCount
        case .identify: Identity.byteCount
        case .getFeature: FeatureValue.byteCount
        case .getPolicy: PolicyParameters.byteCount
        case .getSelection: SelectionStatus.byteCount
        case .readDecisions: DecisionLogHeader.byteCount
        case .getAllocation: Allocation.byteCount
        case .getTerms: ServiceTerms.byteCount
        case .startLog, .stopLog, .harvestLog: LogStatus.byteCount
        case .getStatistics: StatisticsHeader.byteCount
        case .getLatency: LatencyHistogram.byteCount
        case .getAnalysis: AnalysisHeader.byteCount
        case .getAudit: AuditHeader.byteCount
        }
    }

    /// Whether the opcode takes members of this group.
    public func accepts(_ group: AdminGroup) -> Bool {
        switch self {
        case .reportBaseline, .getAllocation, .setAllocation, .releaseAllocation, .getTerms, .setTerms, .getLatency: true
        case .startLog, .stopLog, .harvestLog, .migrateComponent, .getComponent, .setKey: group == .virtualFunction
        case .listOpcodes, .identify, .getFeature, .setFeature, .getPolicy, .setPolicy, .getStatistics, .getAnalysis, .describePolicy,
            .tunePolicy, .uploadPolicy, .installPolicy, .removePolicy, .getSelection, .getAudit, .getPlacement,
            .setPlacement, .readDecisions:
            group == .device
        }
    }
}

/// Whom a command concerns.
public enum AdminGroup: UInt16, Sendable {
    /// The device itself; where an owner is meant, the host.
    case device = 0
    /// The virtual function, and owner, whose number is the group member.
    case virtualFunction = 1
}

/// How a command ended. The numbers are Linux's error numbers, as in virtio.
public enum AdminStatus: UInt16, Error, Sendable {
    case ok = 0
    /// Not now; the same command may succeed later.
    case again = 11
    /// The firmware has no room for it.
    case noMemory = 12
    /// The owner has a key, and the command hasn't.
    case denied = 13
    /// What it concerns is being changed by another command.
    case busy = 16
    /// The command is wrong; the qualifier says where.
    case invalid = 22
    /// More asked for than the device has.
    case noSpace = 28
}

/// Which part of a command its status is about.
public enum AdminQualifier: UInt16, Sendable {
    case none = 0
    /// The readable part is too short for its opcode.
    case command = 1
    /// An opcode that isn't known.
    case opcode = 2
    /// A value in the data is out of range.
    case field = 3
    /// The opcode doesn't take this group type.
    case group = 4
    /// There is no such member.
    case member = 5
    /// The Resource Manager rejected it; the first 4 bytes of result are its RESULT register.
    case noResource = 6
    case tryAgain = 7
    /// The writable part is too short for the result.
    case result = 8
    /// The program can't be taken; the result is a ``PolicyRefusal``.
    case program = 9
    /// The owner's key.
    case key = 10
}

/// The beginning of a command's device-readable part; its data follows.
public struct AdminCommand: WireLayout {
    public static let byteCount = 24

    /// ``AdminOpcode``, or a number that isn't one.
    public var opcode: UInt16
    /// ``AdminGroup``, or a number that isn't one.
    public var group: UInt16
    /// 0 in the device group, 1...64 among the virtual functions.
    public var member: UInt64
    /// The key of the owner that it concerns, if that has one.
    public var key: UInt64

    public init(opcode: UInt16, group: UInt16, member: UInt64, key: UInt64 = 0) {
        self.opcode = opcode; self.group = group; self.member = member; self.key = key
    }

    public init(_ opcode: AdminOpcode, group: AdminGroup = .device, member: UInt64 = 0, key: UInt64 = 0) {
        self.init(opcode: opcode.rawValue, group: group.rawValue, member: member, key: key)
    }

    public init(decoding bytes: UnsafeRawPointer) {
        opcode = bytes.number(0)
        group = bytes.number(2)
        key = bytes.number(8)
        member = bytes.number(16)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(opcode, 0)
        bytes.put(group, 2)
        bytes.zero(4, count: 4)
        bytes.put(key, 8)
        bytes.put(member, 16)
    }
}

/// The beginning of a command's device-writable part; its result follows.
public struct AdminResult: WireLayout {
    public static let byteCount = 8

    /// ``AdminStatus``, or a number that isn't one.
    public var status: UInt16
    /// ``AdminQualifier``, or a number that isn't one.
    public var qualifier: UInt16
    /// Bytes of result that there are; more than were written means that the rest was cut off.
    public var resultBytes: UInt32

    public init(_ status: AdminStatus, _ qualifier: AdminQualifier = .none, resultBytes: UInt32 = 0) {
        self.status = status.rawValue; self.qualifier = qualifier.rawValue; self.resultBytes = resultBytes
    }

    public init(decoding bytes: UnsafeRawPointer) {
        status = bytes.number(0)
        qualifier = bytes.number(2)
        resultBytes = bytes.number(4)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(status, 0)
        bytes.put(qualifier, 2)
        bytes.put(resultBytes, 4)
    }
}
