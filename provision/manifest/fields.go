package manifest

import "strings"

// treatment is what becomes of a field.
type treatment int

const (
	section treatment = iota // holds other fields of this table
	used                     // means something here: read
	ignored                  // only Kubernetes can act on it: a warning when it is set
	refused                  // ignoring it would change data, access or safety: an error when it is set
)

// field is one line of the table that the parser, the suggestions and the documentation follow.
type field struct {
	path string
	treatment
	note string                // why it is ignored, or what would be wrong if it were
	read func(*reader, *place) // of used

	// Of refused: whether an empty value asks for something too, and (unless nil) whether a value does.
	evenEmpty bool
	live      func(*reader) bool
}

const (
	onlyKubernetes = "only Kubernetes acts on it"
	noPooler       = "pgctl does not run a connection pooler yet, and clients would have nothing to connect to"
	noBalancer     = "pgctl does not make load balancers yet; clients find the leader with `pgctl dsn`"
	noNodePort     = "there is no NodePort here; clients find the leader with `pgctl dsn`"
	noRotation     = "passwords are not rotated by themselves yet (`pgctl password NAME USER --rotate` does it)"
	noDisk         = "pgctl uses the disks that the host has"
	onServers      = "containers are not run on the servers"
	ownTimers      = "pgctl's own timers replace it"
)

// fields is every field of the format, in the order of docs/manifest.md.
var fields = []field{
	{path: "apiVersion", treatment: used, read: (*reader).apiVersion},
	{path: "kind", treatment: used, read: (*reader).kind},
	{path: "metadata", treatment: section},
	{path: "metadata.name", treatment: used, read: (*reader).name},
	{path: "metadata.namespace", treatment: used, read: (*reader).namespace},
	{path: "metadata.labels", treatment: used, read: (*reader).labels},
	{path: "metadata.annotations", treatment: used, read: (*reader).annotations},
	{path: "metadata.uid", treatment: ignored, note: onlyKubernetes},
	{path: "metadata.resourceVersion", treatment: ignored, note: onlyKubernetes},
	{path: "metadata.generation", treatment: ignored, note: onlyKubernetes},
	{path: "metadata.creationTimestamp", treatment: ignored, note: onlyKubernetes},
	{path: "metadata.managedFields", treatment: ignored, note: onlyKubernetes},
	{path: "metadata.ownerReferences", treatment: ignored, note: onlyKubernetes},
	{path: "metadata.finalizers", treatment: ignored, note: onlyKubernetes},
	{path: "metadata.selfLink", treatment: ignored, note: onlyKubernetes},
	{path: "status", treatment: ignored, note: "it is what the operator last saw, not a wish"},

	{path: "spec", treatment: section},
	{path: "spec.teamId", treatment: used, read: (*reader).team},
	{path: "spec.numberOfInstances", treatment: used, read: (*reader).instances},
	{path: "spec.postgresql", treatment: section},
	{path: "spec.postgresql.version", treatment: used, read: (*reader).version},
	{path: "spec.postgresql.parameters", treatment: used, read: (*reader).parameters},
	{path: "spec.patroni", treatment: section},
	{path: "spec.patroni.initdb", treatment: used, read: (*reader).initdb},
	{path: "spec.patroni.pg_hba", treatment: used, read: (*reader).hba},
	{path: "spec.patroni.synchronous_mode", treatment: used, read: (*reader).synchronousMode},
	{path: "spec.patroni.synchronous_mode_strict", treatment: used, read: (*reader).synchronousStrict},
	{path: "spec.patroni.synchronous_node_count", treatment: used, read: (*reader).synchronousCount},
	{path: "spec.patroni.maximum_lag_on_failover", treatment: used, read: (*reader).maximumLag},
	{path: "spec.patroni.ttl", treatment: ignored, note: ownTimers},
	{path: "spec.patroni.loop_wait", treatment: ignored, note: ownTimers},
	{path: "spec.patroni.retry_timeout", treatment: ignored, note: ownTimers},
	{
		path: "spec.patroni.failsafe_mode", treatment: ignored,
		note: "a leader whose standbys acknowledge keeps serving without the servers anyway",
	},
	{
		path: "spec.patroni.slots", treatment: refused,
		note: "permanent replication slots are not kept yet, and their readers would lose data",
	},
	{path: "spec.volume", treatment: section},
	{path: "spec.volume.size", treatment: used, read: (*reader).volumeSize},
	{path: "spec.volume.storageClass", treatment: ignored, note: noDisk},
	{path: "spec.volume.selector", treatment: ignored, note: noDisk},
	{path: "spec.volume.type", treatment: ignored, note: noDisk},
	{path: "spec.volume.iops", treatment: ignored, note: noDisk},
	{path: "spec.volume.throughput", treatment: ignored, note: noDisk},
	{path: "spec.volume.subPath", treatment: ignored, note: noDisk},
	{path: "spec.volume.isSubPathExpr", treatment: ignored, note: noDisk},
	{path: "spec.users", treatment: used, read: (*reader).users},
	{path: "spec.databases", treatment: used, read: (*reader).databases},
	{path: "spec.allowedSourceRanges", treatment: used, read: (*reader).allowedSources},

	{path: "spec.pgctl", treatment: section},
	{path: "spec.pgctl.placement", treatment: section},
	{path: "spec.pgctl.placement.dataCenters", treatment: used, read: (*reader).dataCenters},
	{path: "spec.pgctl.placement.hostLabels", treatment: used, read: (*reader).hostLabels},
	{path: "spec.pgctl.durability", treatment: section},
	{path: "spec.pgctl.durability.mode", treatment: used, read: (*reader).mode},
	{path: "spec.pgctl.durability.syncNodes", treatment: used, read: (*reader).syncNodes},
	{path: "spec.pgctl.durability.strict", treatment: used, read: (*reader).strict},
	{path: "spec.pgctl.durability.acrossDataCenters", treatment: used, read: (*reader).acrossDataCenters},
	{path: "spec.pgctl.instances", treatment: used, read: (*reader).tags},

	{
		path: "spec.clone", treatment: refused,
		note: "the cluster would start empty instead of with the other one's data",
	},
	{
		path: "spec.standby", treatment: refused,
		note: "the cluster would start empty and writable instead of following its source",
	},
	{
		path: "spec.tls", treatment: refused,
		note: "clients would be shown another certificate than this one",
	},
	{
		path: "spec.preparedDatabases", treatment: refused, evenEmpty: true,
		note: "its databases, schemas and roles would be missing; write them under spec.users and spec.databases",
	},
	{path: "spec.streams", treatment: refused, note: "nothing would be streamed"},
	{
		path: "spec.additionalVolumes", treatment: refused,
		note: "what is stored there would land on another disk, or nowhere",
	},
	{path: "spec.usersWithSecretRotation", treatment: refused, note: noRotation},
	{path: "spec.usersWithInPlaceSecretRotation", treatment: refused, note: noRotation},
	{path: "spec.usersIgnoringSecretRotation", treatment: ignored, note: noRotation},
	{path: "spec.enableLogicalBackup", treatment: refused, note: "no dumps would be taken"},
	{path: "spec.logicalBackupSchedule", treatment: ignored, note: "pgctl takes no dumps yet"},
	{path: "spec.logicalBackupRetention", treatment: ignored, note: "pgctl takes no dumps yet"},
	{path: "spec.env", treatment: used, read: (*reader).env},
	{
		path: "spec.envFrom", treatment: ignored,
		note: "there is no Spilo here; if it names a WAL archive or backups, they are not made",
	},
	{
		path: "spec.maintenanceWindows", treatment: ignored,
		note: "pgctl does nothing disruptive by itself yet; a change that restarts does so when it is applied",
	},

	{path: "spec.enableConnectionPooler", treatment: refused, note: noPooler},
	{path: "spec.enableReplicaConnectionPooler", treatment: refused, note: noPooler},
	{path: "spec.connectionPooler", treatment: refused, note: noPooler, live: (*reader).poolerOn},
	{path: "spec.enableMasterLoadBalancer", treatment: refused, note: noBalancer},
	{path: "spec.enableReplicaLoadBalancer", treatment: refused, note: noBalancer},
	{path: "spec.enableMasterPoolerLoadBalancer", treatment: refused, note: noBalancer},
	{path: "spec.enableReplicaPoolerLoadBalancer", treatment: refused, note: noBalancer},
	{path: "spec.useLoadBalancer", treatment: refused, note: noBalancer},
	{path: "spec.replicaLoadBalancer", treatment: refused, note: noBalancer},
	{path: "spec.enableMasterNodePort", treatment: refused, note: noNodePort},
	{path: "spec.enableReplicaNodePort", treatment: refused, note: noNodePort},
	{path: "spec.enableMasterPoolerNodePort", treatment: refused, note: noNodePort},
	{path: "spec.enableReplicaPoolerNodePort", treatment: refused, note: noNodePort},
	{path: "spec.masterNodePort", treatment: ignored, note: noNodePort},
	{path: "spec.replicaNodePort", treatment: ignored, note: noNodePort},
	{path: "spec.masterPoolerNodePort", treatment: ignored, note: noNodePort},
	{path: "spec.replicaPoolerNodePort", treatment: ignored, note: noNodePort},

	{path: "spec.resources", treatment: ignored, note: "what an instance may use is not limited yet"},
	{path: "spec.nodeAffinity", treatment: ignored, note: "write spec.pgctl.placement.hostLabels to choose hosts"},
	{path: "spec.tolerations", treatment: ignored, note: onlyKubernetes},
	{path: "spec.topologySpreadConstraints", treatment: ignored, note: "pgctl spreads over data centers and hosts"},
	{path: "spec.schedulerName", treatment: ignored, note: onlyKubernetes},
	{path: "spec.podPriorityClassName", treatment: ignored, note: onlyKubernetes},
	{path: "spec.pod_priority_class_name", treatment: ignored, note: onlyKubernetes},
	{path: "spec.podAnnotations", treatment: ignored, note: onlyKubernetes},
	{path: "spec.livenessProbe", treatment: ignored, note: onlyKubernetes},
	{path: "spec.serviceAnnotations", treatment: ignored, note: onlyKubernetes},
	{path: "spec.masterServiceAnnotations", treatment: ignored, note: onlyKubernetes},
	{path: "spec.replicaServiceAnnotations", treatment: ignored, note: onlyKubernetes},
	{path: "spec.sidecars", treatment: ignored, note: onServers},
	{path: "spec.initContainers", treatment: ignored, note: onServers},
	{path: "spec.init_containers", treatment: ignored, note: onServers},
	{path: "spec.enableShmVolume", treatment: ignored, note: onlyKubernetes},
	{path: "spec.dockerImage", treatment: ignored, note: "the hosts' PostgreSQL packages are used"},
	{path: "spec.spiloRunAsUser", treatment: ignored, note: onlyKubernetes},
	{path: "spec.spiloRunAsGroup", treatment: ignored, note: onlyKubernetes},
	{path: "spec.spiloFSGroup", treatment: ignored, note: onlyKubernetes},
}

// schema finds the fields of a section by their names, for every section by its path.
var schema = func() map[string]map[string]*field {
	sections := map[string]map[string]*field{}
	for i := range fields {
		above, name := splitPath(fields[i].path)
		if sections[above] == nil {
			sections[above] = map[string]*field{}
		}
		sections[above][name] = &fields[i]
	}
	return sections
}()

func splitPath(path string) (above, name string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}
